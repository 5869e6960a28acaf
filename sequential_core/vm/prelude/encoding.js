import { TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream } from '@exodus/bytes/encoding.js';
import { expose } from './intrinsics.js';

expose('TextDecoder', TextDecoder);
expose('TextDecoderStream', TextDecoderStream);
expose('TextEncoder', TextEncoder);
expose('TextEncoderStream', TextEncoderStream);

import Blob from 'fetch-blob';
import File from 'fetch-blob/file.js';
import { FormData } from 'formdata-polyfill/esm.min.js';
import { expose } from './intrinsics.js';

expose('Blob', Blob);
expose('File', File);
expose('FormData', FormData);

import * as streams from 'web-streams-polyfill';
import { expose } from './intrinsics.js';

for (const name of Object.keys(streams)) expose(name, streams[name]);

import { URL, URLSearchParams } from 'whatwg-url';
import { URLPattern } from 'urlpattern-polyfill/urlpattern';
import { expose } from './intrinsics.js';

expose('URL', URL);
expose('URLSearchParams', URLSearchParams);
expose('URLPattern', URLPattern);

// Blob, File and FormData of fetch-blob and formdata-polyfill, and what these leave out of the standards.
import PackageBlob from 'fetch-blob';
import PackageFile from 'fetch-blob/file.js';
import { FormData } from 'formdata-polyfill/esm.min.js';
import {
  toText, NativeTypeError, NativeUint8Array, defineProperty, expose, isObject, iteratorSymbol, lower, need, reconstructed, wellFormed,
} from './intrinsics.js';

const optionsOf = (given) => {
  if (given == null) return {};
  if (!isObject(given)) throw new NativeTypeError('The options must be an object');
  const { endings = 'transparent', lastModified, type } = given, options = { endings: `${endings}`, lastModified };
  if (options.endings !== 'transparent' && options.endings !== 'native') throw new NativeTypeError(`Invalid endings: ${options.endings}`);
  if (type !== undefined) options.type = lower(toText(type));
  return options;
};

const partsOf = (parts, { endings }) =>
  (endings === 'native' && isObject(parts) && parts[iteratorSymbol] != null
    ? [...parts].map((part) => (typeof part === 'string' ? part.replace(/\r\n?/g, '\n') : part)) : parts);

const Blob = reconstructed(PackageBlob, 'Blob', 0, ([given, init]) => {
  const options = optionsOf(init);
  return [partsOf(given, options), options];
});

const File = reconstructed(PackageFile, 'File', 2, ([given, name, init]) => {
  const options = optionsOf(init), { lastModified } = options;
  if (lastModified !== undefined) options.lastModified = Math.trunc(+lastModified) || 0;
  return [partsOf(given, options), wellFormed(toText(name)), options];
});

const methods = { async bytes() { return new NativeUint8Array(await this.arrayBuffer()); } };
defineProperty(Blob.prototype, 'bytes', { value: methods.bytes, writable: true, enumerable: true, configurable: true });

// Only files have names.
for (const name of ['append', 'set']) {
  const method = FormData.prototype[name];
  const checked = {
    [name](key, value, fileName) {
      need(arguments.length, 2, name);
      if (arguments.length === 2) return method.call(this, key, value);
      if (!(value instanceof Blob)) throw new NativeTypeError('A value with a file name must be a Blob');
      return method.call(this, key, value, fileName);
    },
  };
  defineProperty(FormData.prototype, name, { value: checked[name], writable: true, enumerable: true, configurable: true });
}

expose('Blob', Blob);
expose('File', File);
expose('FormData', FormData);

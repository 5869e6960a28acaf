// What whatwg-url takes of tr46: the tables of Unicode are the host's, and are asked only for names that need them.
import { host } from './host.js';

const isPlain = (domain) => /^[\0-\x7f]*$/.test(domain) && !/xn--/i.test(domain);

export const toASCII = (domain) => {
  if (isPlain(domain)) return domain.toLowerCase();
  return host('idna.to_ascii', domain.toWellFormed()) || null;
};

export const toUnicode = (domain) => ({ domain, error: false });

// URL and URLSearchParams (URL standard, 6).
test('the interface of URL', () => {
  assertInterface('URL', ['toString', 'toJSON'], [
    'href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'searchParams', 'hash',
  ]);
  for (const name of ['canParse', 'parse']) assertEquals(typeof URL[name], 'function', name);
  assertThrows(TypeError, () => new URL());
});

const parts = (href) => {
  const url = new URL(href);
  return [url.protocol, url.username, url.password, url.hostname, url.port, url.pathname, url.search, url.hash];
};

test('the parts of a URL', () => {
  table([
    ['https://user:pa%20ss@host.test:8080/a/b?c=d#e', ['https:', 'user', 'pa%20ss', 'host.test', '8080', '/a/b', '?c=d', '#e']],
    ['http://host.test', ['http:', '', '', 'host.test', '', '/', '', '']],
    ['http://host.test:80/', ['http:', '', '', 'host.test', '', '/', '', '']],
    ['https://host.test:443/?#', ['https:', '', '', 'host.test', '', '/', '', '']],
    ['mailto:someone@host.test', ['mailto:', '', '', '', '', 'someone@host.test', '', '']],
    ['data:text/plain,a b#c', ['data:', '', '', '', '', 'text/plain,a b', '', '#c']],
    ['file:///C|/x/../y', ['file:', '', '', '', '', '/C:/y', '', '']],
    ['foo://Host/%7Ea', ['foo:', '', '', 'Host', '', '/%7Ea', '', '']],
    ['ws://h.test:80/', ['ws:', '', '', 'h.test', '', '/', '', '']],
    ['urn:isbn:123?x', ['urn:', '', '', '', '', 'isbn:123', '?x', '']],
  ], parts);
});

test('what parsing makes of a URL', () => {
  table([
    ['HTTP://EXAMPLE.test/%41', 'http://example.test/%41'],
    ['  http://a.test/\t\nx  ', 'http://a.test/x'],
    ['http://a.test/./b/../c', 'http://a.test/c'],
    ['http://a.test/%2e%2E/b', 'http://a.test/b'],
    ['http:\\\\a.test\\b', 'http://a.test/b'],
    ['http:a.test', 'http://a.test/'],
    ['http://a.test/ü?ü#ü', 'http://a.test/%C3%BC?%C3%BC#%C3%BC'],
    ['http://a.test/"<>`{}', 'http://a.test/%22%3C%3E%60%7B%7D'],
    ["http://a.test/?'\"<>", 'http://a.test/?%27%22%3C%3E'],
    ["foo:/?'", "foo:/?'"],
    ['http://a.test/\ud800', 'http://a.test/%EF%BF%BD'],
    ['http://0x7f.1/', 'http://127.0.0.1/'],
    ['http://1.2.3', 'http://1.2.0.3/'],
    ['http://4294967295/', 'http://255.255.255.255/'],
    ['http://[1:0:0:0::2]/', 'http://[1::2]/'],
    ['http://[::ffff:1.2.3.4]/', 'http://[::ffff:102:304]/'],
    ['http://bücher.test/', 'http://xn--bcher-kva.test/'],
    ['http://faß.test/', 'http://xn--fa-hia.test/'],
    ['http://ＡＢＣ.test/', 'http://abc.test/'],
    ['http://a.test。b/', 'http://a.test.b/'],
    ['http://%41.test/', 'http://a.test/'],
    ['http://xn--a/', 'http://xn--a/'],
    ['http://a.test:0080/', 'http://a.test/'],
    ['http://a.test:65535/', 'http://a.test:65535/'],
    ['https://u@a.test/', 'https://u@a.test/'],
    ['https://@a.test/', 'https://a.test/'],
    ['https://a:@a.test/', 'https://a@a.test/'],
    ['https://a@b@c.test/', 'https://a%40b@c.test/'],
    ['non-special://a b'.replace(' ', '%20'), 'non-special://a%20b'],
    ['web+demo:/.//not-a-host/', 'web+demo:/.//not-a-host/'],
    ['file://localhost/x', 'file:///x'],
    ['javascript:alert(1)', 'javascript:alert(1)'],
  ], (href) => new URL(href).href);
});

test('what is no URL', () => {
  for (const href of [
    '', 'x', '/x', '//a.test', 'http://', 'https://:80', 'http://a b/', 'http://a.test:65536', 'http://a.test:x', 'http://[::1', 'http://[x]/',
    'http://1.2.3.256/', 'http://0x100000000/', 'http://a<b', 'http://a^b', 'http://%zz', 'http://a%00b/', '1a:b', 'http://a|b/',
    'http://256/x'.replace('256/x', '1.2.3.4.5/'),
  ]) {
    assertThrows(TypeError, () => new URL(href), href);
    assertEquals(URL.canParse(href), false, href);
    assertEquals(URL.parse(href), null, href);
  }
});

test('relative to a base', () => {
  table([
    ['x', 'http://a.test/b/c', 'http://a.test/b/x'],
    ['/x', 'http://a.test/b/c?d#e', 'http://a.test/x'],
    ['//x.test', 'https://a.test/b', 'https://x.test/'],
    ['?x', 'http://a.test/b?c#d', 'http://a.test/b?x'],
    ['#x', 'http://a.test/b?c#d', 'http://a.test/b?c#x'],
    ['', 'http://a.test/b?c#d', 'http://a.test/b?c'],
    ['../../../x', 'http://a.test/b/c/d', 'http://a.test/x'],
    ['.', 'http://a.test/b/c', 'http://a.test/b/'],
    ['http:x', 'http://a.test/b/', 'http://a.test/b/x'],
    ['https:x', 'http://a.test/b/', 'https://x/'],
    ['foo:x', 'http://a.test/', 'foo:x'],
    ['x', 'file:///a/b', 'file:///a/x'],
    ['#x', 'mailto:a', 'mailto:a#x'],
  ], (href, base) => new URL(href, base).href);
  assertThrows(TypeError, () => new URL('x', 'mailto:a'));
  assertEquals(new URL('x', new URL('http://a.test/b/')).href, 'http://a.test/b/x');
  assertEquals(URL.parse('x', 'http://a.test/').pathname, '/x');
  assert(URL.canParse('x', 'http://a.test/'));
});

test('origin', () => {
  table([
    ['https://a.test:8443/x', 'https://a.test:8443'], ['http://a.test:80', 'http://a.test'], ['file:///x', 'null'], ['data:,x', 'null'],
    ['blob:https://a.test/id', 'https://a.test'], ['wss://a.test', 'wss://a.test'],
  ], (href) => new URL(href).origin);
});

const setting = (href, attribute, value) => {
  const url = new URL(href);
  url[attribute] = value;
  return url.href;
};

test('setters', () => {
  table([
    ['http://a.test/b', 'protocol', 'https', 'https://a.test/b'],
    ['http://a.test/b', 'protocol', 'foo:', 'http://a.test/b'],
    ['https://a.test/', 'protocol', 'http:8080', 'http://a.test/'],
    ['http://a.test:443/', 'protocol', 'https', 'https://a.test/'],
    ['http://a.test/', 'username', 'ü:', 'http://%C3%BC%3A@a.test/'],
    ['http://a.test/', 'password', 'p', 'http://:p@a.test/'],
    ['file:///x', 'username', 'u', 'file:///x'],
    ['http://a.test/', 'host', 'b.test:81', 'http://b.test:81/'],
    ['http://a.test:81/', 'host', 'b.test', 'http://b.test:81/'],
    ['http://a.test:81/', 'hostname', 'b.test:82', 'http://a.test:81/'],
    ['http://a.test/', 'hostname', '', 'http://a.test/'],
    ['http://a.test/', 'port', '82', 'http://a.test:82/'],
    ['http://a.test:82/', 'port', '', 'http://a.test/'],
    ['http://a.test/', 'port', '83x', 'http://a.test:83/'],
    ['http://a.test/', 'port', 'x', 'http://a.test/'],
    ['http://a.test/', 'port', '65536', 'http://a.test/'],
    ['http://a.test/b', 'pathname', 'c d', 'http://a.test/c%20d'],
    ['http://a.test/b', 'pathname', '', 'http://a.test/'],
    ['mailto:a', 'pathname', 'b', 'mailto:a'],
    ['http://a.test/', 'search', 'x=y z', 'http://a.test/?x=y%20z'],
    ['http://a.test/?x', 'search', '', 'http://a.test/'],
    ['http://a.test/', 'search', '??', 'http://a.test/??'],
    ['http://a.test/', 'hash', 'h h', 'http://a.test/#h%20h'],
    ['http://a.test/#x', 'hash', '', 'http://a.test/'],
    ['http://a.test/', 'href', 'https://b.test', 'https://b.test/'],
  ], setting);
  assertThrows(TypeError, () => { new URL('http://a.test/').href = 'x'; });
  assertThrows(TypeError, () => { 'use strict'; new URL('http://a.test/').origin = 'x'; });
});

test('a URL as a string', () => {
  const url = new URL('http://a.test/?b=c');
  assertEquals([`${url}`, url.toJSON(), JSON.stringify({ url })], ['http://a.test/?b=c', 'http://a.test/?b=c', '{"url":"http://a.test/?b=c"}']);
});

test('URL and its searchParams follow each other', () => {
  const url = new URL('http://a.test/?a=1&b=2#h'), params = url.searchParams;
  assert(params === url.searchParams, 'it is the same object');
  params.append('c', 'x y');
  assertEquals(url.href, 'http://a.test/?a=1&b=2&c=x+y#h');
  params.delete('a');
  params.delete('b');
  params.delete('c');
  assertEquals(url.href, 'http://a.test/#h');
  url.search = '?d=%20';
  assertEquals([...params], [['d', ' ']]);
  url.href = 'http://b.test/?e=f';
  assertEquals(params.get('e'), 'f');
  params.set('e', '&');
  assertEquals(url.search, '?e=%26');
});

test('the interface of URLSearchParams', () => {
  assertInterface('URLSearchParams', ['append', 'delete', 'get', 'getAll', 'has', 'set', 'sort', 'forEach', 'entries', 'keys', 'values', 'toString', Symbol.iterator], ['size']);
  assert(URLSearchParams.prototype[Symbol.iterator] === URLSearchParams.prototype.entries);
});

test('what URLSearchParams are made of', () => {
  const of = (init) => new URLSearchParams(init).toString();
  table([
    [undefined, ''],
    ['', ''],
    ['?a=b', 'a=b'],
    ['??a=b', '%3Fa=b'],
    ['a=b&&c&=d&e==', 'a=b&c=&=d&e=%3D'],
    ['a+b=%20%2B', 'a+b=+%2B'],
    ['%zz=%e4%b8%ad%ff', '%25zz=%E4%B8%AD%EF%BF%BD'],
    ['a=\ud800', 'a=%EF%BF%BD'],
    [[['a', 1], ['a', 2]], 'a=1&a=2'],
    [{ x: 'y', n: 1 }, 'x=y&n=1'],
    [new Map([['m', 'n']]), 'm=n'],
    [new URLSearchParams('p=q'), 'p=q'],
    [null, 'null='],
    [5, '5='],
    [(function* () { yield ['g', 'h']; })(), 'g=h'],
    ["a=!'()*-._~", 'a=%21%27%28%29*-._%7E'],
  ], of);
  assertThrows(TypeError, () => new URLSearchParams([['a']]));
  assertThrows(TypeError, () => new URLSearchParams([['a', 'b', 'c']]));
  assertThrows(TypeError, () => new URLSearchParams([1]));
});

test('reading URLSearchParams', () => {
  const params = new URLSearchParams('a=1&b=2&a=3');
  assertEquals([params.get('a'), params.get('x'), params.getAll('a'), params.getAll('x')], ['1', null, ['1', '3'], []]);
  assertEquals([params.has('a'), params.has('x'), params.has('a', '3'), params.has('a', '4'), params.size], [true, false, true, false, 3]);
  assertEquals([...params.keys()], ['a', 'b', 'a']);
  assertEquals([...params.values()], ['1', '2', '3']);
  assertEquals([...params.entries()], [['a', '1'], ['b', '2'], ['a', '3']]);
  const seen = [];
  params.forEach(function (value, key, all) { seen.push([value, key, all === params, this.x]); }, { x: 1 });
  assertEquals(seen[2], ['3', 'a', true, 1]);
  assertThrows(TypeError, () => params.get());
  assertThrows(TypeError, () => params.append('x'));
  assertThrows(TypeError, () => params.forEach());
});

test('changing URLSearchParams', () => {
  const params = new URLSearchParams('a=1&b=2&a=3');
  params.set('a', 'x');
  assertEquals(`${params}`, 'a=x&b=2');
  params.append('a', 'y');
  params.delete('a', 'x');
  assertEquals(`${params}`, 'b=2&a=y');
  params.sort();
  assertEquals(`${params}`, 'a=y&b=2');
  params.set('new', '');
  assertEquals(`${params}`, 'a=y&b=2&new=');
  const order = new URLSearchParams('ﬃ&🌈');
  order.sort();
  assertEquals([...order.keys()], ['🌈', 'ﬃ'], 'by code units');
  const stable = new URLSearchParams('z=b&a=b&z=a&a=a');
  stable.sort();
  assertEquals(`${stable}`, 'a=b&a=a&z=b&z=a');
});

test('iterating while URLSearchParams change', () => {
  const params = new URLSearchParams('a=1&b=2'), seen = [];
  for (const [name] of params) {
    seen.push(name);
    if (name === 'a') params.append('c', '3');
  }
  assertEquals(seen, ['a', 'b', 'c']);
  const iterator = params.entries();
  assertEquals(iterator.next(), { value: ['a', '1'], done: false });
  assertEquals(iterator[Symbol.iterator]() === iterator, true);
  assertEquals(Object.prototype.toString.call(iterator), '[object URLSearchParams Iterator]');
});

test('a URL and an iterator over its parameters across a pause', async () => {
  const url = new URL('https://u:p@a.test:8/b?c=1&d=2#e'), iterator = url.searchParams.entries();
  iterator.next();
  await fetch(ECHO);
  assertEquals(iterator.next().value, ['d', '2']);
  url.searchParams.append('f', '3');
  assertEquals(iterator.next().value, ['f', '3']);
  assertEquals(url.href, 'https://u:p@a.test:8/b?c=1&d=2&f=3#e');
  assert(url.searchParams instanceof URLSearchParams);
});

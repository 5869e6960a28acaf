// URLPattern (URL Pattern standard).
test('the interface', () => {
  assertInterface('URLPattern', ['test', 'exec'], [
    'protocol', 'username', 'password', 'hostname', 'port', 'pathname', 'search', 'hash', 'hasRegExpGroups',
  ]);
});

const matches = (pattern, input) => new URLPattern(pattern).test(input);

test('what a path matches', () => {
  table([
    ['/books/:id', '/books/1', true],
    ['/books/:id', '/books/', false],
    ['/books/:id', '/books/1/2', false],
    ['/books/:id?', '/books', true],
    ['/books/:id*', '/books/1/2/3', true],
    ['/books/:id+', '/books', false],
    ['/books/:id(\\d+)', '/books/12', true],
    ['/books/:id(\\d+)', '/books/x', false],
    ['/*', '/a/b', true],
    ['/a{/b}?', '/a', true],
    ['/a{/b}?', '/a/b', true],
    ['/a{/b}?', '/a/c', false],
    ['/a\\:b', '/a:b', true],
    ['/café', '/caf%C3%A9', true],
    ['/(foo|bar)', '/bar', true],
  ], (pathname, input) => matches({ pathname }, { pathname: input }));
});

test('whole URLs', () => {
  table([
    ['https://*.example.com/:rest*', 'https://cdn.example.com/a/b', true],
    ['https://*.example.com/:rest*', 'https://example.com/a', false],
    ['https://*.example.com/:rest*', 'http://cdn.example.com/a', false],
    ['http{s}?://a.test/', 'https://a.test/', true],
    ['https://a.test:8080/*', 'https://a.test:8080/x', true],
    ['https://a.test:8080/*', 'https://a.test/x', false],
    ['https://a.test/?q=*', 'https://a.test/?q=1', true],
    ['https://a.test/#:h', 'https://a.test/#x', true],
  ], matches);
});

test('what it captures', () => {
  const found = new URLPattern('https://:sub.example.com/users/:id/*\\?lang=:lang').exec('https://api.example.com/users/7/a/b?lang=de#x');
  assertEquals(found.hostname.groups.sub, 'api');
  assertEquals([found.pathname.groups.id, found.pathname.groups[0]], ['7', 'a/b']);
  assertEquals(found.search.groups.lang, 'de');
  assertEquals(found.pathname.input, '/users/7/a/b');
  assertEquals(found.inputs, ['https://api.example.com/users/7/a/b?lang=de#x']);
  assertEquals(new URLPattern({ pathname: '/x' }).exec('https://a.test/y'), null);
  assertEquals(new URLPattern({ pathname: '/a/:b?' }).exec({ pathname: '/a' }).pathname.groups.b, undefined);
});

test('its parts', () => {
  const pattern = new URLPattern('https://a.test/:x');
  assertEquals([pattern.protocol, pattern.hostname, pattern.port, pattern.pathname], ['https', 'a.test', '', '/:x']);
  assertEquals(new URLPattern({ pathname: '/x' }).protocol, '*');
  assertEquals([new URLPattern({ pathname: '/:x(\\d)' }).hasRegExpGroups, pattern.hasRegExpGroups], [true, false]);
});

test('a base, and options', () => {
  assert(new URLPattern('/a/:b', 'https://a.test').test('https://a.test/a/x'));
  assert(!new URLPattern('/a/:b', 'https://a.test').test('https://b.test/a/x'));
  assert(new URLPattern('/a/:b', 'https://a.test').test('/a/x', 'https://a.test'));
  assert(new URLPattern({ pathname: '/a', baseURL: 'https://a.test/x?y' }).test('https://a.test/a'));
  assert(new URLPattern({ pathname: '/A' }, { ignoreCase: true }).test('https://a.test/a'));
  assert(!new URLPattern({ pathname: '/A' }).test('https://a.test/a'));
});

test('what is no pattern', () => {
  for (const pathname of ['/:', '/(', '/{a', '/:a/:a', '/(?a)']) assertThrows(TypeError, () => new URLPattern({ pathname }), pathname);
  assertThrows(TypeError, () => new URLPattern('/relative'));
  assertEquals(new URLPattern({ pathname: '*' }).test('no url'), false);
});

test('a pattern across a pause', async () => {
  const pattern = new URLPattern({ pathname: '/:kind/:id(\\d+)' });
  const before = pattern.exec('https://a.test/users/1');
  await fetch(ECHO);
  assertEquals(before.pathname.groups.kind, 'users');
  assertEquals(pattern.exec('https://a.test/posts/22').pathname.groups.id, '22');
});

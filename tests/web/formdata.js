// FormData (XMLHttpRequest standard, 4.3).
test('the interface', () => {
  assertInterface('FormData', ['append', 'delete', 'get', 'getAll', 'has', 'set', 'entries', 'keys', 'values', 'forEach', Symbol.iterator]);
  assertThrows(TypeError, () => new FormData({}), 'there are no forms');
});

test('names and values', () => {
  const form = new FormData();
  form.append('a', 1);
  form.append('b', null);
  form.append('a', '2');
  form.append('', { toString: () => 'o' });
  assertEquals([...form], [['a', '1'], ['b', 'null'], ['a', '2'], ['', 'o']]);
  assertEquals([form.get('a'), form.getAll('a'), form.get('x'), form.getAll('x'), form.has('b'), form.has('x')], ['1', ['1', '2'], null, [], true, false]);
  form.set('a', '3');
  assertEquals([...form.keys()], ['a', 'b', '']);
  assertEquals([...form.values()], ['3', 'null', 'o']);
  form.delete('b');
  form.set('new', 'x');
  assertEquals([...form.entries()], [['a', '3'], ['', 'o'], ['new', 'x']]);
  const seen = [];
  form.forEach(function (value, name, all) { seen.push([value, name, all === form, this.x]); }, { x: 1 });
  assertEquals(seen[0], ['3', 'a', true, 1]);
  assertThrows(TypeError, () => form.append('x'));
  assertThrows(TypeError, () => form.get());
  assertThrows(TypeError, () => form.set('x'));
  assertThrows(TypeError, () => form.append('x', 'text', 'name'));
});

test('files', async () => {
  const form = new FormData(), file = new File(['x'], 'f.txt', { type: 'a/b', lastModified: 7 });
  form.append('blob', new Blob(['b'], { type: 'c/d' }));
  form.append('file', file);
  form.append('renamed', file, 'g.txt');
  form.set('named', new Blob(['n']), 'h.txt');
  const names = [...form.values()].map((value) => [value instanceof File, value.name, value.type]);
  assertEquals(names, [[true, 'blob', 'c/d'], [true, 'f.txt', 'a/b'], [true, 'g.txt', 'a/b'], [true, 'h.txt', '']]);
  assert(form.get('file') === file, 'a file stays itself');
  assertEquals(await form.get('renamed').text(), 'x');
});

test('as multipart, and back', async () => {
  const form = new FormData();
  form.append('line', 'a\nb\rc\r\nd');
  form.append('qu"ote\n', '%22 ü');
  form.append('empty', '');
  form.append('file', new File([bytes('00 0d 0a ff 2d 2d')], 'ä"b.bin'));
  const response = new Response(form), text = await response.clone().bytes();
  const boundary = response.headers.get('content-type').split('boundary=')[1];
  const body = [...text].map((byte) => String.fromCharCode(byte)).join('');
  assert(body.startsWith(`--${boundary}\r\nContent-Disposition: form-data; name="line"\r\n\r\na\r\nb\r\nc\r\nd\r\n`));
  assert(body.includes('name="qu%22ote%0A"') || body.includes('name="qu%22ote%0D%0A"'));
  assert(body.includes('Content-Type: application/octet-stream\r\n\r\n'));
  assert(body.endsWith(`\r\n--${boundary}--\r\n`));
  const back = await response.formData();
  assertEquals([back.get('line'), back.get('empty')], ['a\r\nb\r\nc\r\nd', '']);
  assertEquals([...back.keys()][1].replace('\r\n', '\n'), 'qu"ote\n');
  assertEquals([...back.values()][1], '%22 ü');
  const file = back.get('file');
  assertEquals([file.name, file.type, await file.bytes()], ['ä"b.bin', 'application/octet-stream', bytes('00 0d 0a ff 2d 2d')]);
});

test('what servers send as multipart', async () => {
  const parse = async (text, boundary = 'B') => {
    const form = await new Response(text, { headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } }).formData();
    return Promise.all([...form].map(async ([name, value]) => [name, typeof value === 'string' ? value : [value.name, value.type, await value.text()]]));
  };
  assertEquals(await parse('--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B--\r\n'), [['a', 'x']]);
  assertEquals(await parse('--B\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=utf-8\r\nX-Y: z\r\n\r\nü\r\n--B--'), [['a', 'ü']]);
  assertEquals(await parse('--B C\r\nContent-Disposition: form-data; name="a"; filename="x.json"\r\nContent-Type: application/json\r\n\r\n{}\r\n--B C--\r\n', '"B C"'), [['a', ['x.json', 'application/json', '{}']]]);
  assertEquals(await parse('--B--\r\n'), []);
  for (const text of ['', 'x', '--B\r\n\r\nx\r\n--B--\r\n', '--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n', '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx'])
    await assertRejects(TypeError, parse(text), show(text));
});

test('a form and an iterator over it across a pause', async () => {
  const form = new FormData();
  form.append('a', '1');
  form.append('f', new Blob([bytes('00 ff')]), 'n');
  const iterator = form.entries();
  iterator.next();
  await fetch(ECHO);
  const [name, file] = iterator.next().value;
  assertEquals([name, file.name, await file.bytes()], ['f', 'n', bytes('00 ff')]);
  form.append('b', '2');
  assertEquals([...form.keys()], ['a', 'f', 'b']);
  assertEquals((await new Response(form).formData()).get('b'), '2');
});

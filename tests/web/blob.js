// Blob and File (File API).
test('the interfaces', () => {
  assertInterface('Blob', ['slice', 'text', 'arrayBuffer', 'bytes', 'stream'], ['size', 'type']);
  assertInterface('File', ['slice', 'text', 'arrayBuffer', 'bytes', 'stream'], ['name', 'lastModified', 'size', 'type']);
  assert(Object.getPrototypeOf(File.prototype) === Blob.prototype);
});

test('parts', async () => {
  const text = async (parts, options) => new Blob(parts, options).text();
  assertEquals(await text(undefined), '');
  assertEquals(await text([]), '');
  assertEquals(await text(['a', 'ä', '\ud800']), 'aä\ufffd');
  assertEquals(await text([ascii('xyz').subarray(1), ascii('q').buffer, new DataView(ascii('vw').buffer, 1)]), 'yzqw');
  assertEquals(await text([new Blob(['in']), new File(['ner'], 'f')]), 'inner');
  assertEquals(await text([1, null, undefined, { toString: () => 'o' }]), '1nullundefinedo');
  assertEquals(await text(new Set(['s', 't'])), 'st');
  assertEquals(await text(['a\r\nb\rc\n']), 'a\r\nb\rc\n');
  for (const parts of [null, 5, 'text', {}]) assertThrows(TypeError, () => new Blob(parts), show(parts));
  assertThrows(TypeError, () => new Blob([], 'x'));
  assertThrows(TypeError, () => new Blob([], { endings: 'x' }));
});

test('size and type', () => {
  table([
    [['ä'], { type: 'Text/Plain' }, [2, 'text/plain']], [[], { type: 'a\u00e4' }, [0, '']], [['x'], {}, [1, '']], [['x'], { type: null }, [1, 'null']],
    [[new Uint16Array(3)], { type: '\0' }, [6, '']], [['x'], undefined, [1, '']],
  ], (parts, options) => { const blob = new Blob(parts, options); return [blob.size, blob.type]; });
});

test('slices', async () => {
  const blob = new Blob(['abc', 'def', new Blob(['ghi'])], { type: 'a/b' });
  for (const [args, expected] of [[[], 'abcdefghi'], [[2], 'cdefghi'], [[2, 7], 'cdefg'], [[-3], 'ghi'], [[0, -6], 'abc'], [[5, 2], ''], [[-99, 99], 'abcdefghi'], [[4, 5], 'e']])
    assertEquals(await blob.slice(...args).text(), expected, show(args));
  assertEquals([blob.slice().type, blob.slice(0, 1, 'C/D').type], ['', 'c/d']);
  assertEquals(await blob.slice(1, 8).slice(1, 3).text(), 'cd');
});

test('reading', async () => {
  const blob = new Blob([bytes('00 01'), bytes('ff')]);
  assertEquals(new Uint8Array(await blob.arrayBuffer()), bytes('00 01 ff'));
  assertEquals(await blob.bytes(), bytes('00 01 ff'));
  assertEquals(join(await collect(blob.stream())), bytes('00 01 ff'));
  assertEquals(await new Blob([bytes('ef bb bf 61')]).text(), 'a');
  assertEquals(await new Blob(['a\r\nb\rc', 'd\n'], { endings: 'native' }).text(), 'a\nb\ncd\n');
  assertEquals(await blob.text(), '\0\u0001\ufffd');
  assert(blob.stream() instanceof ReadableStream);
  const reader = new Blob(['abc']).stream().getReader({ mode: 'byob' });
  assertEquals((await reader.read(new Uint8Array(2))).value.length <= 2, true);
});

test('a blob does not follow its parts', async () => {
  const part = ascii('ab'), blob = new Blob([part]);
  part[0] = 0;
  assertEquals(await blob.text(), 'ab');
});

test('File', () => {
  const file = new File(['ab'], 'näme/x.txt', { type: 'A/B', lastModified: 12.7 });
  assertEquals([file.name, file.size, file.type, file.lastModified], ['näme/x.txt', 2, 'a/b', 12]);
  assert(file instanceof Blob);
  assertEquals(new File([], 'x').lastModified, Date.now());
  assertEquals(new File([], 5).name, '5');
  assertThrows(TypeError, () => new File());
  assertThrows(TypeError, () => new File([]));
  assertEquals(file.slice(0, 1) instanceof File, false);
  assertEquals(new File([], 'a\ud800').name, 'a\ufffd');
});

test('a blob, a file and a half-read stream of one across a pause', async () => {
  const blob = new Blob(['abc', bytes('ff'), new Blob(['def'])], { type: 'x/y' }), file = new File([blob], 'n', { lastModified: 1 }), part = blob.slice(2, 5);
  const reader = new Blob(['one', 'two']).stream().getReader(), first = (await reader.read()).value;
  await fetch(ECHO);
  assertEquals([blob.size, blob.type, file.name, file.lastModified], [7, 'x/y', 'n', 1]);
  assertEquals(await part.bytes(), bytes('63 ff 64'));
  assertEquals(await file.bytes(), bytes('61 62 63 ff 64 65 66'));
  let rest = [...first];
  for (let next; !(next = await reader.read()).done;) rest.push(...next.value);
  assertEquals(Uint8Array.from(rest), ascii('onetwo'));
});

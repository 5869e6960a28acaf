// CompressionStream and DecompressionStream (Compression standard); Python's zlib is the other side.
const FORMATS = ['deflate', 'deflate-raw', 'gzip'];
const through = async (stream, ...chunks) => join(await collect(streamOf(...chunks).pipeThrough(stream)));
const python = async (operation, body) => (await fetch(PYTHON + operation, { method: 'POST', body })).bytes();
const TEXT = 'All work and no play. '.repeat(40) + 'äöü';
const DATA = new TextEncoder().encode(TEXT);

test('the interfaces', () => {
  assertInterface('CompressionStream', [], ['readable', 'writable']);
  assertInterface('DecompressionStream', [], ['readable', 'writable']);
  for (const Class of [CompressionStream, DecompressionStream]) {
    for (const format of ['', 'GZIP', 'br', undefined]) assertThrows(TypeError, () => new Class(format), show(format));
    assertThrows(TypeError, () => new Class());
    const stream = new Class('gzip');
    assert(stream.readable instanceof ReadableStream && stream.writable instanceof WritableStream, Class.name);
  }
});

for (const format of FORMATS) {
  test(`${format} there and back`, async () => {
    const packed = await through(new CompressionStream(format), DATA);
    assert(packed.length < DATA.length / 4);
    assertEquals(await through(new DecompressionStream(format), packed), DATA);
    const chunks = [DATA.subarray(0, 100), DATA.subarray(100, 101).slice().buffer, new DataView(DATA.slice(101).buffer)];
    assertEquals(await through(new DecompressionStream(format), await through(new CompressionStream(format), ...chunks)), DATA);
    assertEquals(await through(new DecompressionStream(format), packed.subarray(0, 9), packed.subarray(9, 10), packed.subarray(10)), DATA);
    assertEquals(await through(new DecompressionStream(format), await through(new CompressionStream(format))), new Uint8Array(0));
  });

  test(`${format} and Python`, async () => {
    assertEquals(await python(`decompress/${format}`, await through(new CompressionStream(format), DATA)), DATA);
    assertEquals(await through(new DecompressionStream(format), await python(`compress/${format}`, DATA)), DATA);
    assertEquals(await python(`decompress/${format}`, await through(new CompressionStream(format))), new Uint8Array(0));
  });

  test(`${format} that is damaged`, async () => {
    const packed = await through(new CompressionStream(format), DATA);
    const unpack = (...chunks) => through(new DecompressionStream(format), ...chunks);
    await assertRejects(TypeError, unpack(packed.subarray(0, packed.length - 1)), 'cut short');
    await assertRejects(TypeError, unpack(packed.subarray(0, 5)), 'cut early');
    await assertRejects(TypeError, unpack(), 'nothing');
    await assertRejects(TypeError, unpack(Uint8Array.of(...packed, 0)), 'something behind it');
    await assertRejects(TypeError, unpack(packed, bytes('00')), 'a chunk behind it');
    await assertRejects(TypeError, unpack(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 255, 255)), 'nonsense');
    if (format !== 'deflate-raw') {
      const wrong = packed.slice();
      wrong[wrong.length - (format === 'gzip' ? 5 : 1)] ^= 1;
      await assertRejects(TypeError, unpack(wrong), 'the checksum');
      const header = packed.slice();
      header[0] ^= 0x40;
      await assertRejects(TypeError, unpack(header), 'the header');
    }
  });
}

test('chunks that are no bytes', async () => {
  for (const chunk of ['text', 5, null, {}, undefined]) {
    await assertRejects(TypeError, through(new CompressionStream('gzip'), chunk), show(chunk));
    await assertRejects(TypeError, through(new DecompressionStream('gzip'), chunk), show(chunk));
  }
});

test('decompression gives what it has before it fails', async () => {
  const packed = await through(new CompressionStream('gzip'), DATA), stream = new DecompressionStream('gzip'), writer = stream.writable.getWriter();
  writer.write(packed.subarray(0, packed.length - 4)).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader(), seen = [];
  await assertRejects(TypeError, async () => { for (;;) seen.push((await reader.read()).value); });
});

test('a body', async () => {
  const packed = await new Response(new Blob([TEXT]).stream().pipeThrough(new CompressionStream('gzip'))).blob();
  assertEquals(await new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).text(), TEXT);
});

test('half way through, both ways, across a pause', async () => {
  for (const format of FORMATS) {
    const packing = new CompressionStream(format), writer = packing.writable.getWriter(), packed = collect(packing.readable);
    await writer.write(DATA.slice(0, 300));
    await fetch(ECHO);
    await writer.write(DATA.slice(300));
    await writer.close();
    const whole = join(await packed), unpacking = new DecompressionStream(format), feeding = unpacking.writable.getWriter(), unpacked = collect(unpacking.readable);
    await feeding.write(whole.slice(0, 12));
    await fetch(ECHO);
    await feeding.write(whole.slice(12));
    await feeding.close();
    assertEquals(join(await unpacked), DATA, format);
  }
});

// TextEncoderStream and TextDecoderStream (Encoding standard, 7).
test('the streams', async () => {
  const encoded = await collect(streamOf('a', '\ud83d', '\ude00', '', '\ud83d').pipeThrough(new TextEncoderStream()));
  assertEquals(join(encoded), bytes('61 f09f9880 efbfbd'));
  assertEquals(encoded.some((chunk) => chunk.length === 0), false);
  assertEquals((await collect(streamOf(bytes('e2'), bytes('82 ac').buffer, bytes('61')).pipeThrough(new TextDecoderStream()))).join(''), '€a');
  assertEquals((await collect(streamOf(bytes('e2')).pipeThrough(new TextDecoderStream()))).join(''), '\ufffd');
  await assertRejects(TypeError, collect(streamOf(bytes('e2')).pipeThrough(new TextDecoderStream('utf-8', { fatal: true }))));
  await assertRejects(TypeError, collect(streamOf('text').pipeThrough(new TextDecoderStream())));
  const jis = new TextDecoderStream('sjis', { ignoreBOM: true });
  assertEquals([jis.encoding, jis.fatal, jis.ignoreBOM, new TextEncoderStream().encoding], ['shift_jis', false, true, 'utf-8']);
  assertThrows(RangeError, () => new TextDecoderStream('x'));
  assertEquals((await collect(streamOf(5, null).pipeThrough(new TextEncoderStream()))).map((chunk) => new TextDecoder().decode(chunk)).join(''), '5null');
});

test('a stream in the middle of a character across a pause', async () => {
  const stream = new TextDecoderStream('gbk'), writer = stream.writable.getWriter(), reader = stream.readable.getReader();
  writer.write(bytes('d6'));
  const encoding = new TextEncoderStream(), high = encoding.writable.getWriter(), encoded = collect(encoding.readable);
  high.write('\ud83d');
  await fetch(ECHO);
  writer.write(bytes('d0'));
  assertEquals((await reader.read()).value, '中');
  high.write('\ude00');
  high.close();
  assertEquals(join(await encoded), bytes('f09f9880'));
});

// TextEncoder, TextDecoder and their streams (Encoding standard).
test('the interfaces', () => {
  assertInterface('TextEncoder', ['encode', 'encodeInto']);
  assertInterface('TextDecoder', ['decode']);
  assertInterface('TextEncoderStream', []);
  assertInterface('TextDecoderStream', []);
  // The attributes are the objects' own: a known deviation.
  const attributes = { TextEncoder: ['encoding'], TextDecoder: ['encoding', 'fatal', 'ignoreBOM'] };
  attributes.TextEncoderStream = [...attributes.TextEncoder, 'readable', 'writable'];
  attributes.TextDecoderStream = [...attributes.TextDecoder, 'readable', 'writable'];
  for (const [name, names] of Object.entries(attributes)) {
    for (const attribute of names) {
      const object = new globalThis[name](), value = object[attribute];
      assertThrows(TypeError, () => { 'use strict'; object[attribute] = 5; }, `${name}.${attribute}`);
      assert(object[attribute] === value && value !== undefined, `${name}.${attribute}`);
    }
  }
});

test('TextEncoder', () => {
  const encoder = new TextEncoder();
  assertEquals(encoder.encoding, 'utf-8');
  table([
    ['', ''], ['a', '61'], ['ä', 'c3a4'], ['€', 'e282ac'], ['😀', 'f09f9880'], ['\ud83d', 'efbfbd'], ['\ude00\ud83d', 'efbfbdefbfbd'], ['\0', '00'], ['\uffff', 'efbfbf'],
  ], (text) => encoder.encode(text).toHex());
  assertEquals([encoder.encode().length, encoder.encode(undefined).length, encoder.encode(null).length], [0, 0, 4]);
  assert(encoder.encode('a') instanceof Uint8Array);
});

test('encodeInto', () => {
  const encoder = new TextEncoder(), into = (text, size) => { const target = new Uint8Array(size), { read, written } = encoder.encodeInto(text, target); return [read, written, target.toHex()]; };
  table([
    ['abc', 2, [2, 2, '6162']], ['ä', 1, [0, 0, '00']], ['aä', 3, [2, 3, '61c3a4']], ['😀', 3, [0, 0, '000000']], ['😀', 4, [2, 4, 'f09f9880']],
    ['\ud800', 3, [1, 3, 'efbfbd']], ['', 1, [0, 0, '00']], ['x€', 3, [1, 1, '780000']],
  ], into);
  assertThrows(TypeError, () => encoder.encodeInto('a', new ArrayBuffer(1)));
  assertThrows(TypeError, () => encoder.encodeInto('a'));
});

test('TextDecoder by itself', () => {
  const decoder = new TextDecoder();
  assertEquals([decoder.encoding, decoder.fatal, decoder.ignoreBOM], ['utf-8', false, false]);
  const strict = new TextDecoder('utf8', { fatal: 1, ignoreBOM: true });
  assertEquals([strict.fatal, strict.ignoreBOM], [true, true]);
  assertEquals([decoder.decode(), decoder.decode(new ArrayBuffer(0)), decoder.decode(new DataView(ascii('xyz').buffer, 1, 1)), decoder.decode(new Uint16Array([0x6161]))], ['', '', 'y', 'aa']);
  for (const value of ['text', 5, {}, []]) assertThrows(TypeError, () => decoder.decode(value), show(value));
  for (const label of ['', 'x', 'utf-7', 'utf-32', 'utf8 x', 'iso-2022-kr', 'hz-gb-2312', 'replacement', 'iso-2022-cn']) assertThrows(RangeError, () => new TextDecoder(label), label);
});

test('utf-8 that is damaged', () => {
  const cases = [
    ['c3', '\ufffd'], ['61c328', 'a\ufffd('], ['e282', '\ufffd'], ['e28261', '\ufffda'], ['f09f98', '\ufffd'], ['80', '\ufffd'], ['ff', '\ufffd'], ['c080', '\ufffd\ufffd'],
    ['eda080', '\ufffd\ufffd\ufffd'], ['f4908080', '\ufffd\ufffd\ufffd\ufffd'], ['e0809f', '\ufffd\ufffd\ufffd'], ['f0808080', '\ufffd\ufffd\ufffd\ufffd'],
  ];
  table(cases, (hex) => new TextDecoder().decode(bytes(hex)));
  for (const [hex] of cases) assertThrows(TypeError, () => new TextDecoder('utf-8', { fatal: true }).decode(bytes(hex)), hex);
});

test('byte order marks', () => {
  const decode = (label, options, hex) => new TextDecoder(label, options).decode(bytes(hex));
  table([
    ['utf-8', {}, 'efbbbf61', 'a'], ['utf-8', { ignoreBOM: true }, 'efbbbf61', '\ufeffa'], ['utf-8', {}, 'efbbbfefbbbf', '\ufeff'], ['utf-8', {}, '61efbbbf', 'a\ufeff'],
    ['utf-16le', {}, 'fffe6100', 'a'], ['utf-16le', { ignoreBOM: true }, 'fffe6100', '\ufeffa'], ['utf-16be', {}, 'feff0061', 'a'],
    ['windows-1252', {}, 'efbbbf', 'ï»¿'],
  ], decode);
  const decoder = new TextDecoder();
  assertEquals(['ef', 'bb', 'bf', '61'].map((hex) => decoder.decode(bytes(hex), { stream: true })).join(''), 'a');
  assertEquals(decoder.decode(), '');
  assertEquals(decoder.decode(bytes('efbbbf62')), 'b', 'the next text has its own');
});

test('utf-16', () => {
  const decode = (label, hex) => new TextDecoder(label).decode(bytes(hex));
  table([
    ['utf-16le', '3dd800de', '😀'], ['utf-16be', 'd83dde00', '😀'], ['utf-16le', '3dd8', '\ufffd'], ['utf-16le', '00de', '\ufffd'], ['utf-16le', '61', '\ufffd'], ['utf-16le', '3dd86100', '\ufffda'],
    ['utf-16', '6100', 'a'], ['ucs-2', '6100', 'a'], ['unicode', '6100', 'a'], ['unicodefffe', '0061', 'a'],
  ], decode);
  assertEquals([new TextDecoder('utf-16').encoding, new TextDecoder('csunicode').encoding], ['utf-16le', 'utf-16le']);
});

// Name, labels, a text, and the bytes that Python's codec makes of it.
const LEGACY = [
  ['ibm866', ['866', 'cp866', 'csibm866'], 'Привет', '8fe0a8a2a5e2'],
  ['iso-8859-2', ['latin2', 'l2', 'iso-ir-101', 'csisolatin2'], 'Łódź', 'a3f364bc'],
  ['iso-8859-3', ['latin3', 'l3'], 'Ħĉĝ', 'a1e6f8'],
  ['iso-8859-4', ['latin4', 'l4'], 'Āņģ', 'c0f1bb'],
  ['iso-8859-5', ['cyrillic', 'iso88595'], 'Привет', 'bfe0d8d2d5e2'],
  ['iso-8859-6', ['arabic', 'ecma-114', 'asmo-708'], 'مرحبا', 'e5d1cdc8c7'],
  ['iso-8859-7', ['greek', 'greek8', 'elot_928', 'sun_eu_greek'], 'Γειά', 'c3e5e9dc'],
  ['iso-8859-8', ['hebrew', 'visual', 'csisolatinhebrew'], 'שלום', 'f9ece5ed'],
  ['iso-8859-8-i', ['logical', 'csiso88598i'], 'שלום', 'f9ece5ed'],
  ['iso-8859-10', ['latin6', 'l6', 'iso-ir-157'], 'Đŧŋ', 'a9bbbf'],
  ['iso-8859-13', ['iso885913'], 'Ąžuolas', 'c0fe756f6c6173'],
  ['iso-8859-14', ['iso885914'], 'Ḃŵŷ', 'a1f0fe'],
  ['iso-8859-15', ['l9', 'csisolatin9', 'iso885915'], '€œŸ', 'a4bdbe'],
  ['iso-8859-16', [], 'Țările', 'dee372696c65'],
  ['koi8-r', ['koi', 'koi8', 'cskoi8r'], 'Привет', 'f0d2c9d7c5d4'],
  ['koi8-u', ['koi8-ru'], 'Їжак', 'b7d6c1cb'],
  ['macintosh', ['mac', 'x-mac-roman', 'csmacintosh'], 'Ä†Ω', '80a0bd'],
  ['windows-874', ['tis-620', 'dos-874', 'iso-8859-11'], 'ไทย', 'e4b7c2'],
  ['windows-1250', ['cp1250', 'x-cp1250'], 'Příliš', '50f8ed6c699a'],
  ['windows-1251', ['cp1251', 'x-cp1251'], 'Ёлка', 'a8ebeae0'],
  ['windows-1252', ['ascii', 'us-ascii', 'latin1', 'l1', 'iso-8859-1', 'iso8859-1', 'ansi_x3.4-1968', 'cp819', 'x-cp1252'], '€ñ”', '80f194'],
  ['windows-1253', ['cp1253'], 'Γειά', 'c3e5e9dc'],
  ['windows-1254', ['latin5', 'l5', 'iso-8859-9', 'cp1254'], 'İşğ', 'ddfef0'],
  ['windows-1255', ['cp1255'], 'שלום', 'f9ece5ed'],
  ['windows-1256', ['cp1256'], 'مرحبا', 'e3d1cdc8c7'],
  ['windows-1257', ['cp1257'], 'Ąžuolas', 'c0fe756f6c6173'],
  ['windows-1258', ['cp1258'], 'Đơ₫', 'd0f5fe'],
  ['x-mac-cyrillic', ['x-mac-ukrainian'], 'Привет', '8ff0e8e2e5f2'],
  ['gbk', ['gb2312', 'chinese', 'csgb2312', 'x-gbk', 'gb_2312-80', 'iso-ir-58'], '中文漢字', 'd6d0cec49d68d7d6'],
  ['gb18030', [], '中文𠮷ß', 'd6d0cec49534b23581308938'],
  ['big5', ['big5-hkscs', 'cn-big5', 'csbig5', 'x-x-big5'], '中文漢字', 'a4a4a4e5ba7ea672'],
  ['euc-jp', ['x-euc-jp', 'cseucpkdfmtjapanese'], '日本語カナ', 'c6fccbdcb8eca5aba5ca'],
  ['iso-2022-jp', ['csiso2022jp'], '日本語abc', '1b2442467c4b5c386c1b2842616263'],
  ['shift_jis', ['sjis', 'shift-jis', 'ms_kanji', 'windows-31j', 'x-sjis', 'ms932', 'csshiftjis'], '日本語ｶﾅ①', '93fa967b8ceab6c58740'],
  ['euc-kr', ['korean', 'ks_c_5601-1987', 'ksc5601', 'windows-949', 'csksc56011987'], '한국어', 'c7d1b1b9beee'],
];

for (const [name, labels, text, hex] of LEGACY) {
  test(name, () => {
    assertEquals(new TextDecoder(name).encoding, name);
    for (const label of labels) assertEquals(new TextDecoder(label).encoding, name, label);
    assertEquals(new TextDecoder(` \t${name.toUpperCase()}\n`).encoding, name);
    assertEquals(new TextDecoder(name, { fatal: true }).decode(bytes(hex)), text);
    const decoder = new TextDecoder(name), apart = [...bytes(hex)].map((byte) => decoder.decode(Uint8Array.of(byte), { stream: true }));
    assertEquals(apart.join('') + decoder.decode(), text, 'byte by byte');
  });
}

test('what only some encodings have', () => {
  const decode = (label, hex) => new TextDecoder(label).decode(bytes(hex));
  table([
    ['x-user-defined', '41 80 ff', 'A\uf780\uf7ff'],
    ['windows-1252', '81 8d 9d', '\x81\x8d\x9d'],
    ['windows-1253', 'aa d2', '\ufffd\ufffd'],
    ['iso-8859-8', 'a1', '\ufffd'],
    ['gb18030', '84 31 a4 37', '\ufffd'],
    ['gb18030', '81 30 81 30', '\x80'],
    ['gbk', '80', '€'],
    ['big5', '88 62', 'Ê̄'],
    ['big5', '81 40', '\ufffd@'],
    ['shift_jis', '5c 7e 80', '\\~\x80'],
    ['shift_jis', '81 20', '\ufffd '],
    ['euc-jp', '8f b0 a1', '丂'],
    ['euc-jp', '8e b1', 'ｱ'],
    ['euc-kr', 'b0', '\ufffd'],
    ['iso-2022-jp', '1b 28 4a 5c 7e', '¥‾'],
    ['iso-2022-jp', '1b 28 49 31', 'ｱ'],
    ['iso-2022-jp', '1b 24 42 24', '\ufffd'],
    ['iso-2022-jp', '1b', '\ufffd'],
  ], decode);
  for (const [label, hex] of [['shift_jis', '81'], ['gbk', 'ff'], ['windows-1253', 'aa'], ['euc-jp', 'a1'], ['utf-16le', '61'], ['big5', '80']])
    assertThrows(TypeError, () => new TextDecoder(label, { fatal: true }).decode(bytes(hex)), label);
});

test('decoding piece by piece', () => {
  const decoder = new TextDecoder(), step = (hex, options) => decoder.decode(bytes(hex), options);
  assertEquals([step('f0', { stream: true }), step('9f98', { stream: true }), step('80')], ['', '', '😀']);
  assertEquals([step('e2', { stream: true }), step('')], ['', '\ufffd']);
  assertEquals([step('e2', { stream: true }), step('61', { stream: true }), step('62')], ['', '\ufffda', 'b']);
  const strict = new TextDecoder('utf-8', { fatal: true });
  strict.decode(bytes('e2'), { stream: true });
  assertThrows(TypeError, () => strict.decode());
  assertEquals(strict.decode(ascii('a')), 'a', 'it goes on from the beginning');
});

test('in the middle of a character across a pause', async () => {
  const texts = { 'utf-8': '€😀', gbk: '中文', shift_jis: '日本', 'iso-2022-jp': '日本', 'euc-jp': '日本', big5: '中文', 'euc-kr': '한국', gb18030: '𠮷中', 'utf-16le': '😀' };
  const decoders = [];
  for (const [label, text] of Object.entries(texts)) {
    const python = { shift_jis: 'cp932', 'iso-2022-jp': 'iso2022_jp', 'utf-16le': 'utf-16-le' }[label] ?? label.replace('-', label === 'utf-8' ? '-' : '_');
    const whole = await (await fetch(`${PYTHON}encode/${python}`, { method: 'POST', body: text })).bytes();
    const decoder = new TextDecoder(label, { fatal: true });
    // All that can be left open: every place in the bytes.
    for (let at = 1; at < whole.length; at++) {
      const cut = new TextDecoder(label, { fatal: true });
      decoders.push([label, text, cut, whole.subarray(at), cut.decode(whole.subarray(0, at), { stream: true })]);
    }
    assertEquals(decoder.decode(whole), text, label);
  }
  await fetch(ECHO);
  for (const [label, text, decoder, rest, before] of decoders) assertEquals(before + decoder.decode(rest), text, label);
});

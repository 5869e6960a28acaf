// Makes JSON of a CSV file (RFC 4180: quoted fields, "" for a quote, line breaks in fields) and posts it row by row
// in batches. The file is read as a stream: a row is parsed when its last byte is there.

async function* rows(stream) {
  let field = '', row = [], quoted = false, closing = false;
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    for (const character of chunk) {
      if (quoted && closing) {
        closing = false;
        if (character === '"') { field += '"'; continue; }
        quoted = false;
      } else if (quoted) {
        if (character === '"') closing = true;
        else field += character;
        continue;
      }
      if (character === '"' && field === '') quoted = true;
      else if (character === ',') { row.push(field); field = ''; }
      else if (character === '\n') { yield [...row, field]; row = []; field = ''; }
      else if (character !== '\r') field += character;
    }
  }
  if (field !== '' || row.length > 0) yield [...row, field];
}

async function* objects(stream) {
  let names;
  for await (const row of rows(stream)) {
    if (names === undefined) names = row;
    else yield Object.fromEntries(names.map((name, i) => [name, row[i] ?? '']));
  }
}

const save = (batch) => fetch('https://api.example.com/people', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(batch),
});

const file = await fetch('https://files.example.com/people.csv');
let batch = [], saved = 0;
for await (const person of objects(file.body)) {
  batch.push(person);
  if (batch.length < 2) continue;
  await save(batch);
  saved += batch.length;
  batch = [];
}
if (batch.length > 0) {
  await save(batch);
  saved += batch.length;
}
({ saved });

// Sends a webhook that the receiver can trust: the body is signed with HMAC-SHA-256, together with the time, in a
// header of the form that Stripe's have. The receiver's answer is signed in the same way, and is verified before use.

const SECRET = 'whsec_correct horse battery staple';

const encoder = new TextEncoder();
const key = await crypto.subtle.importKey(
  'raw', encoder.encode(SECRET), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify'],
);

async function signature(body) {
  const time = Math.floor(Date.now() / 1000);
  const signed = await crypto.subtle.sign('HMAC', key, encoder.encode(`${time}.${body}`));
  const hex = Array.from(new Uint8Array(signed), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `t=${time},v1=${hex}`;
}

async function isSigned(header, body) {
  const [, time, hex] = /^t=(\d+),v1=((?:[0-9a-f]{2})+)$/.exec(header ?? '') ?? [];
  if (hex === undefined) return false;
  const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
  return crypto.subtle.verify('HMAC', key, bytes, encoder.encode(`${time}.${body}`));
}

const body = JSON.stringify({ event: 'order.paid', order: { id: 17, total: '12.50' } });
const response = await fetch('https://shop.example.com/hooks', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'Webhook-Signature': await signature(body) },
  body,
});
const answer = await response.text();
if (!(await isSigned(response.headers.get('Webhook-Signature'), answer))) throw new Error('the answer is not signed');
JSON.parse(answer).received;

// Gets a token by OAuth's client credentials grant (RFC 6749, 4.4) and calls an API with it. The token is asked for
// once, however many calls need it, and again when an API no longer takes it.

const CLIENT_ID = 'reporting';
const CLIENT_SECRET = 'correct horse battery staple';

let pendingToken;
const requestToken = async () => {
  const response = await fetch('https://auth.example.com/token', {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${CLIENT_ID}:${CLIENT_SECRET}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'reports:read' }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`no token: ${answer.error_description ?? answer.error}`);
  return answer.access_token;
};
const token = () => (pendingToken ??= requestToken());

async function call(path) {
  const url = new URL(path, 'https://api.example.com/v1/');
  let response = await fetch(url, { headers: { Authorization: `Bearer ${await token()}` } });
  if (response.status === 401) {
    pendingToken = undefined;
    response = await fetch(url, { headers: { Authorization: `Bearer ${await token()}` } });
  }
  if (!response.ok) throw new Error(`${url.pathname} answered ${response.status}`);
  return response.json();
}

const [me, reports] = await Promise.all([call('me'), call('reports?year=2030')]);
({ owner: me.name, reports: reports.map((report) => report.id) });

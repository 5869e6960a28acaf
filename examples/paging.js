// Collects all pages of a list. The API says in a Link header where the next page is (RFC 8288), as GitHub's does:
// Link: <https://api.example.com/issues?page=2>; rel="next", <...>; rel="last"
// The program is paused at every page, and what it keeps between two of them is the list so far.

const nextPage = (response) => {
  for (const link of (response.headers.get('Link') ?? '').split(/,\s*(?=<)/)) {
    const [, target, parameters] = link.match(/^<([^>]*)>(.*)$/) ?? [];
    if (/;\s*rel="?next"?/i.test(parameters)) return new URL(target, response.url).href;
  }
  return null;
};

async function* pages(url) {
  for (let next = url; next !== null; ) {
    const response = await fetch(next, { headers: { Accept: 'application/json' } });
    if (!response.ok) throw new Error(`${next} answered ${response.status}`);
    next = nextPage(response);
    yield await response.json();
  }
}

const titles = [];
for await (const page of pages('https://api.example.com/issues?per_page=2')) {
  titles.push(...page.map((issue) => issue.title));
}
titles;

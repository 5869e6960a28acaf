// Asks a GraphQL API with POST, page by page by its cursors. An answer of GraphQL can have errors with status 200:
// these are thrown as one AggregateError.

async function query(text, variables) {
  const response = await fetch('https://api.example.com/graphql', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/graphql-response+json' },
    body: JSON.stringify({ query: text, variables }),
  });
  const { data, errors } = await response.json();
  if (errors?.length) throw new AggregateError(errors.map((error) => new Error(error.message)), 'the query failed');
  return data;
}

const REPOSITORIES = `
  query Repositories($owner: String!, $after: String) {
    owner(name: $owner) {
      repositories(first: 2, after: $after) {
        nodes { name stars }
        pageInfo { hasNextPage endCursor }
      }
    }
  }`;

const repositories = [];
let after = null;
do {
  const { owner } = await query(REPOSITORIES, { owner: 'example', after });
  repositories.push(...owner.repositories.nodes);
  after = owner.repositories.pageInfo.hasNextPage ? owner.repositories.pageInfo.endCursor : null;
} while (after !== null);

repositories.toSorted((a, b) => b.stars - a.stars).map(({ name, stars }) => `${name}: ${stars}`);

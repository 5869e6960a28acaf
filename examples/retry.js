// Calls an API that is busy at times: tries again after 429, 503 and network errors, at most five times, waiting for
// as long as Retry-After says, or else twice as long each time with full jitter. A task does not run while it
// waits, so that a delay of an hour costs what a delay of a second does.

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const delayBefore = (attempt, response) => {
  const seconds = Number(response?.headers.get('Retry-After') ?? NaN);
  return Number.isNaN(seconds) ? Math.random() * 1000 * 2 ** attempt : seconds * 1000;
};

async function fetchWithRetry(url, init, attempts = 5) {
  for (let attempt = 1; ; attempt++) {
    let response, failure;
    try {
      response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) });
      if (response.status !== 429 && response.status !== 503) return response;
    } catch (error) {
      failure = error;
    }
    if (attempt === attempts) throw new Error(`gave up after ${attempts} attempts`, { cause: failure });
    const delay = delayBefore(attempt, response);
    console.warn(`attempt ${attempt}: ${failure?.message ?? response.status}`);
    await wait(delay);
  }
}

const response = await fetchWithRetry('https://api.example.com/report');
(await response.json()).total;

// Asks for the price of many products, five at a time, and goes on when one of them fails. The requests that wait are
// pending requests of the task: they can be answered in any order, hours apart.

async function mapLimit(values, limit, callback) {
  const results = new Array(values.length), queue = values.entries();
  const worker = async () => {
    for (const [index, value] of queue) {
      try {
        results[index] = { value: await callback(value) };
      } catch (error) {
        results[index] = { error: error.message };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return results;
}

async function price(product) {
  const response = await fetch(`https://api.example.com/prices/${encodeURIComponent(product)}`);
  if (!response.ok) throw new Error(`${product}: ${response.status}`);
  return (await response.json()).cents;
}

const products = Array.from({ length: 12 }, (_, number) => `product ${number}`);
const prices = await mapLimit(products, 5, price);
({
  total: prices.reduce((sum, { value = 0 }) => sum + value, 0),
  failed: prices.flatMap(({ error }) => error ?? []),
});

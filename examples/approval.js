// Asks a person, and waits for as long as it takes: looks up what is to be paid, sends a link that approves it, reminds once
// a day, and pays when the link was followed. To be driven, with { "answers": "response" }: a task that waits costs nothing.

const DAY = 24 * 3600e3;

const invoice = await (await fetch('https://api.example.com/invoices/7')).json();
const link = await callTool('sequential.eventUrl', { name: 'approved' });
const mail = (subject) =>
  fetch('https://mail.example.com/send', { method: 'POST', body: JSON.stringify({ to: invoice.approver, subject, link }) });

let answer;
for (let day = 0; answer === undefined && day < 3; day++) {
  await mail(day === 0 ? `Approve ${invoice.amount} EUR?` : `Day ${day}: still waiting`);
  try {
    answer = await waitForEvent('approved', { timeout: DAY });
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
  }
}

if (answer?.ok) {
  // The driver adds an Idempotency-Key, so that it is paid once though it may be asked twice.
  await fetch('https://api.example.com/payments', { method: 'POST', body: JSON.stringify({ invoice: invoice.id }) });
}
({ invoice: invoice.id, paid: answer?.ok === true, by: answer?.by ?? null });

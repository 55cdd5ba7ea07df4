import { ponder } from "ponder:registry";
import { loan } from "ponder:schema";

ponder.on("Ledger:LoanOpened", async ({ event, context }) => {
  const { id, terms } = event.args;
  await context.db.insert(loan).values({ id, principal: terms.principal, paid: 0n, payments: 0 });
});

ponder.on("Ledger:Repaid", async ({ event, context }) => {
  const { id, amount } = event.args;
  await context.db
    .update(loan, { id })
    .set((before) => ({ paid: before.paid + amount, payments: before.payments + 1 }));
});

import { onchainTable } from "ponder";

export const loan = onchainTable("loan", (t) => ({
  id: t.hex().primaryKey(),
  principal: t.bigint().notNull(),
  paid: t.bigint().notNull(),
  payments: t.integer().notNull(),
}));

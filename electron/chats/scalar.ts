import type { DatabaseSyncInstance } from '@photostructure/sqlite';

const sink = 'hunch_scalar';
const sinks = new WeakMap<DatabaseSyncInstance, { value: unknown }>();

/**
 * The value of the first column of a query's last row; undefined without rows. `expression` and `rest` form the query.
 * A prepared statement lives until it is garbage collected and so long keeps even a closed database's file open, which
 * stops a damaged file from being set aside; this query leaves none behind.
 */
export function scalar(db: DatabaseSyncInstance, expression: string, rest = ''): unknown {
  let cell = sinks.get(db);
  if (!cell) {
    const own: { value: unknown } = { value: undefined };
    db.function(sink, { directOnly: true }, (value: unknown) => {
      own.value = value;
      return null;
    });
    sinks.set(db, own);
    cell = own;
  }
  cell.value = undefined;
  db.exec(`SELECT ${sink}(${expression}) ${rest}`);
  return cell.value;
}

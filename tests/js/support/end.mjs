/**
 * Runs all of `works`, one after the other, also when one of them fails: a process that is left behind keeps its test
 * from ending. Throws the first failure then.
 */
export async function endAll(...works) {
  const failures = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** What stops each of them. */
export const stops = (all) => all.map((each) => () => each?.stop());

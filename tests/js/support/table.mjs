// The table of faults: what was promised, what people saw, how soon everything worked again.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { join } from 'node:path';

import { LEASE_MS } from './nodes.mjs';
import { program, root, run } from './programs.mjs';
import { artifacts } from './server.mjs';

/** Where the table is kept, if it is: then faults last as long as the table says. */
const results = process.env.E2E_RESULTS;
export const isKept = results !== undefined;

/** Of the code that is running, whatever is edited meanwhile. */
const commit = (await run(program('git'), ['-C', root, 'describe', '--always', '--dirty'])).stdout.trim();
const ms = (value) => (value === undefined ? '–' : `${value}`);

/**
 * Writes the table as JSON and as a page, into `E2E_RESULTS` or the artefacts. Rows that another file has
 * written there for the same commit on the same day stay.
 */
export async function writeTable(rows) {
  const date = new Date().toISOString().slice(0, 10);
  const folder = results ?? artifacts;
  const path = join(folder, isKept ? `${date}-faults` : 'faults');
  const machine = `${cpus()[0].model}, ${cpus().length} cores, Linux ${release()}`;
  const isNew = ({ fault }) => rows.some((row) => row.fault === fault);
  const old = await readFile(`${path}.json`, 'utf8').then(JSON.parse, () => undefined);
  const kept = old?.commit === commit && old.date === date ? old.rows.filter((row) => !isNew(row)) : [];
  const table = {
    schema: 'throng-faults/1', date, machine, commit, command: 'cargo xtask faults', lease_ms: LEASE_MS,
    rows: [...kept, ...rows],
  };
  await mkdir(folder, { recursive: true });
  await writeFile(`${path}.json`, `${JSON.stringify(table, null, 2)}\n`);
  await writeFile(`${path}.md`, page(table));
}

function page({ date, machine, commit, command, lease_ms: lease, rows }) {
  const promises = rows.map(({ fault, promised, saw }) => `| ${fault} | ${promised.join(', ')} | ${saw} |`);
  const figures = rows.map((row) => {
    const refused = row.refused > 0 ? `${row.refused} × \`${row.refused_code}\`` : '0';
    const { slowest } = row;
    return `| ${[
      row.fault, row.lasted_ms, row.acked, refused, `${row.lost} / ${row.repeated}`,
      ...[slowest.ack_ms, slowest.other_node_ms, slowest.unread_ms, row.rosters_wrong_ms].map(ms),
    ].join(' | ')} |`;
  });
  const loads = rows.filter(({ load }) => load).map(({ fault, load }) => {
    const { before, during, memory_mb: memory, log, noted } = load;
    return `| ${[
      fault, ms(before.p99_ms), ms(during.p99_ms), ms(during.slowest_ms), memory.before, memory.most, memory.after,
      log.map((line) => `\`${line.replaceAll('|', '/')}\``).join('<br>'), noted ?? '',
    ].join(' | ')} |`;
  });
  const truth = rows.map(({ fault, said, right_after_ms: right }) => {
    const why = said.why.map((each) => `\`${each}\``).join(', ');
    return `| ${[
      fault, said.ready.join(', '), why, ms(said.down_after_ms), ms(said.up_after_ms),
      right.rosters, right.messages, right.unread, right.map, `**${right.all}**`,
    ].join(' | ')} |`;
  });
  return `# Faults, ${date}

\`${command}\`: two nodes of the release build and what they share, real processes, broken one way after
the other while one person on each node says ten messages a second and others come, go and count what they have
not read; and one node alone on SQLite, whose disk,
directory or shard fails, which is stopped, or flooded. Throng ${commit}; ${machine}; leases of ${lease} ms (the default is 8000). Times in ms.

## What was promised, and what people saw

The clauses are those of [the protocol](../../protocol-spec/10-many-nodes.md). NODE-33 promises that everything is
right again within 10 s. A run in which it is not, or in which anything below 0 / 0 is lost or repeated, fails.

| fault | promised | what people saw |
|---|---|---|
${promises.join('\n')}

## Messages, unread numbers and rosters while it lasted

*Lost*: acked and in no history. *Repeated*: in the history, or received by a session, twice. The slowest of all
messages that were sent while the fault lasted: until its ack, until a member on the other node received it, until
a person outside the room was sent that it is unread. *Rosters wrong*: the longest that a roster differed from who
has a session in the room (the sessions of a stopped node count as being there).

| fault | lasted | acked | refused | lost / repeated | slowest ack | to the other node | unread sent | rosters wrong |
|---|---|---|---|---|---|---|---|---|
${figures.join('\n')}

## What the nodes said of themselves, and when all was right again

\`/ready\` and the metric \`throng_backplane_up\`, asked ten times a second: which status and words, how soon the last
of the nodes concerned said that it is down, and how long after the end of the fault all said that they are up. Right
again: how long after the end of the fault each was so for good, on every node; *all* includes looking at it once more.

| fault | /ready | said | down after | up after | rosters | messages | unread | map | all |
|---|---|---|---|---|---|---|---|---|---|
${truth.join('\n')}

## A node that is alone: what others waited, its memory, its log

Until the ack of a message, in ms: the 99th percentile before and during the fault, and the slowest. Memory
(RSS) in MB: before, the most, and when all was right again.

| fault | p99 before | p99 | slowest | memory before | most | after | warnings in the log | besides |
|---|---|---|---|---|---|---|---|---|
${loads.join('\n')}
`;
}

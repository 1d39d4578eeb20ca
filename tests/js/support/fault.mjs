// One fault from its beginning until everything works again, as people and operators see it.
import assert from 'node:assert/strict';

import { state } from './nodes.mjs';
import { eventually } from './server.mjs';

/** An unanswered command takes a second to be given up; after this time a node must know. */
const NOTICED_MS = 2500;
/** What the protocol promises (NODE-33). */
const RIGHT_WITHIN_MS = 10_000;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Plays one fault: people chat, the fault comes, one leaves, `during` looks around, the fault ends,
 * and everything must be right within 10 s with nothing lost. Answers the row of the table.
 *
 * `truth`: what the nodes in `judged` must say meanwhile: `down` (of Redis) till it ends, `passing`
 * (down for a time), `up`, `locked` (the store, for a time), or what is down so that the node is not ready, `store` or `redis`. `refuses`: the
 * code that publishers get; without it no message may be refused.
 */
export async function play(name, scene, fault) {
  const { breaks, heals, during = () => {}, promised, saw, truth, judged = [0, 1], lasts = 4000, refuses } = fault;
  scene.chat();
  await sleep(300);
  const begun = Date.now();
  await breaks(scene);
  const fritz = scene.on(0).find(({ user }) => user === scene.users.fritz);
  // Presence on the node itself goes on, whatever Redis does.
  if (fritz) {
    await scene.exit(fritz);
    const [anna] = scene.on(0);
    await eventually('a leave is seen on the node itself', () => !anna.roster.includes(fritz.user.id));
  }
  await during(scene);
  await sleep(Math.max(0, lasts - (Date.now() - begun)));
  const ackedBefore = scene.acked.size;
  const healed = Date.now();
  await heals?.(scene);
  const upAfter = everyNodeUp(scene, healed);
  await scene.quiet();
  if (refuses) {
    // A refused message may have been kept all the same; the next one shows its number.
    await eventually('a message is acknowledged', () => scene.say(scene.on(0)[0]));
  }
  const right = await scene.right(`all is right after: ${name}`, healed, RIGHT_WITHIN_MS);
  const seen = scene.samples.filter(({ at, node }) => at >= begun && at < healed && judged.includes(node));
  checkTruth(seen, { truth, judged, begun });
  const codes = scene.refused.map(({ code }) => code);
  // What was under way when it broke may be in doubt (CHAT-99).
  const expected = refuses ? [refuses, 'unknown_outcome'] : [];
  assert.deepEqual(codes.filter((code) => !expected.includes(code)), [], 'no message is refused for another reason');
  if (refuses) assert.ok(codes.length > 0, 'publishers were refused');
  else assert.ok(ackedBefore > 5, `people went on chatting: ${ackedBefore} messages`);
  const { lost, repeated } = scene.isEphemeral ? { lost: 0, repeated: 0 } : await scene.checkHistory();
  const heardTwice = scene.people.map(({ heard }) => heard.length - new Set(heard).size);
  const row = {
    fault: name,
    promised,
    lasted_ms: healed - begun,
    acked: [...scene.acked.values()].filter(({ sent }) => sent >= begun && sent < healed).length,
    refused: codes.length,
    refused_code: refuses,
    lost,
    repeated: repeated + heardTwice.reduce((sum, twice) => sum + twice, 0),
    slowest: slowest(scene, begun, healed),
    rosters_wrong_ms: wrongFor(scene.samples.filter(({ at }) => at >= begun), healed + right.rosters),
    said: {
      ready: [...new Set(seen.map(({ status }) => status))],
      why: [...new Set(seen.map(({ redis, store }) => (store === 'ok' ? redis : `store: ${store}`)))],
      down_after_ms: firstDown(seen, begun),
      up_after_ms: await upAfter,
    },
    right_after_ms: right,
    saw,
  };
  assert.deepEqual([row.lost, row.repeated], [0, 0], 'nothing acknowledged is lost, nothing is there twice');
  return row;
}

const isDown = ({ status, up }) => status !== 200 || up === 0;

function checkTruth(seen, { truth, judged, begun }) {
  if (truth === 'locked') {
    const samples = seen.filter(({ node }) => judged.includes(node));
    assert.ok(samples.some(({ status, store }) => status === 503 && /lock/.test(store)), '/ready names the lock');
    assert.equal(samples.at(-1).status, 200, '/ready is 200 once the database has ended the transaction');
    return;
  }
  if (truth === 'store' || truth === 'redis') {
    const late = seen.filter(({ at }) => at > begun + NOTICED_MS);
    assert.ok(late.length > 0, 'the node was asked');
    const isTrue = (sample) => sample.status === 503 && sample[truth] !== 'ok';
    assert.deepEqual(late.filter((sample) => !isTrue(sample)), [], `/ready says that it is down: ${truth}`);
    return;
  }
  assert.deepEqual(seen.filter(({ status }) => status !== 200), [], '/ready stays 200 while people chat');
  for (const node of judged) {
    const samples = seen.filter((sample) => sample.node === node);
    assert.ok(samples.length > 0, `node ${node} was asked`);
    // `down` lasts till the fault ends; what is there when it has just passed is not looked at.
    const last = truth === 'down' ? samples.slice(-1) : samples.filter(isDown).slice(-1);
    if (truth === 'up') {
      assert.deepEqual(samples.filter(isDown), [], `node ${node}: /ready and the metric say up`);
    } else {
      assert.equal(last[0]?.up, 0, `node ${node}: the metric says down: ${JSON.stringify(last)}`);
      assert.match(last[0].redis, /^down: /, `node ${node}: /ready says down`);
    }
  }
}

/** When the last of the nodes that noticed said so. */
function firstDown(seen, begun) {
  const first = new Map();
  for (const sample of seen.filter(isDown)) {
    if (!first.has(sample.node)) first.set(sample.node, sample.at - begun);
  }
  return first.size > 0 ? Math.max(...first.values()) : undefined;
}

/** How long after `healed` every node says that all is well, in `/ready` and in the metric. */
async function everyNodeUp(scene, healed) {
  const nodes = scene.nodes.filter((_, index) => !scene.absent.has(index));
  await eventually('every node says that it is up', async () => {
    const states = await Promise.all(nodes.map((node) => state(node).catch(() => ({}))));
    return states.every(({ status, redis, up }) => status === 200 && redis === 'ok' && up === 1);
  }, RIGHT_WITHIN_MS);
  return Date.now() - healed;
}

/** The longest that the rosters of one node were not those who are there. */
function wrongFor(samples, end) {
  let longest = 0;
  for (const node of new Set(samples.map((sample) => sample.node))) {
    let since;
    const ofNode = samples.filter((sample) => sample.node === node).sort((a, b) => a.at - b.at);
    for (const { at, isRosterRight } of [...ofNode, { at: end, isRosterRight: true }]) {
      if (since !== undefined) longest = Math.max(longest, at - since);
      since = isRosterRight ? undefined : since ?? at;
    }
  }
  return longest;
}

/** Of the messages sent meanwhile: the slowest ack, way to the other node, and unread number. */
function slowest(scene, begun, healed) {
  const sent = [...scene.acked].filter(([, message]) => message.sent >= begun && message.sent < healed);
  let [ack, other, unread] = [undefined, undefined, undefined];
  const worse = (old, ms) => Math.max(old ?? 0, ms);
  for (const [seq, message] of sent) {
    ack = worse(ack, message.took);
    for (const person of scene.people.filter(({ node }) => node !== message.node)) {
      const at = person.heardAt.get(seq);
      if (at !== undefined) other = worse(other, at - message.sent);
    }
    // Emil has never been in the room, so all of its messages are unread.
    const update = scene.outside.includes(scene.emil) && scene.emil.unreadAt.find((it) => it.unread >= seq);
    if (update) unread = worse(unread, update.at - message.sent);
  }
  return { ack_ms: ack, other_node_ms: other, unread_ms: unread };
}

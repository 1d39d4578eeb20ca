// One fault of a node that is alone on SQLite: what its people and its operator see, and how soon
// everything works again by itself.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Api, png } from './api.mjs';
import { Person } from './nodes.mjs';
import { program, run, start } from './programs.mjs';
import { eventually } from './server.mjs';

/** What the protocol promises (REST-75), and how often it is asked. */
const DOWN_WITHIN_MS = 2000;
const UP_WITHIN_MS = 5000;
const ASK_EVERY_MS = 100;
/** How long people talk before the fault: what it is compared with. */
const CALM_MS = 1000;
const ROOM = 1;
/** Lines of the log that the table shows. */
const LINES_MAX = 3;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Root needs no namespace of users to mount, and in a chroot it may not make one. */
const IS_ROOT = process.getuid() === 0;

/** Runs a server in a namespace where `folder` is a file system of its own, of so many MB. */
export const onSmallDisk = (folder, mb) => [
  program('unshare'), ...(IS_ROOT ? [] : ['--user', '--map-root-user']), '--mount', program('bash'), '-c',
  `mount -t tmpfs -o size=${mb}m tmpfs "$0" && exec "$@"`, folder,
];

/** Runs a command in the namespace of such a server. */
export const runOnDiskOf = (server, command) => {
  const users = IS_ROOT ? [] : ['--user', '--preserve-credentials'];
  return run(program('nsenter'), [...users, '--mount', '--target', String(server.pid), ...command]);
};

/** Takes all that is left of the server's disk; answers what gives it back. */
export async function fillDisk(server, folder) {
  const filler = join(`/proc/${server.pid}/root`, folder, 'filler');
  const file = await open(filler, 'w');
  for (let bytes = 1 << 20; bytes >= 1; ) {
    try {
      await file.write(Buffer.alloc(bytes));
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
      bytes >>= 1;
    }
  }
  await file.close();
  return () => rm(filler);
}

/** No file of the server may be written any more; answers what ends that. */
export async function forbidWrites(server) {
  const limit = (soft) => run(program('prlimit'), ['--pid', String(server.pid), `--fsize=${soft}:unlimited`]);
  await limit('0');
  return () => limit('unlimited');
}

/**
 * Makes the server's disk read-only, as a kernel does that met an error: what is open may not be written, and is opened
 * again to read only. Answers what ends that.
 */
export async function makeReadOnly(server, folder) {
  const inside = (script) => runOnDiskOf(server, [program('bash'), '-c', script, folder]);
  // A disk with files that are open to write cannot be remounted: SQLite has to give up its connection first.
  const allowWrites = await forbidWrites(server);
  const isDown = async () => (await fetch(`${server.url}/ready`)).status === 503;
  await eventually('the node is down', isDown, DOWN_WITHIN_MS);
  // Elsewhere first: what the server opens between two steps would keep the mount busy.
  await inside(`set -e; stage=$(mktemp -d); mount --bind "$0" "$stage"; mount -o remount,bind,ro "$stage"
    mount --bind "$stage" "$0"; umount "$stage"; rmdir "$stage"`);
  await allowWrites();
  return () => inside('umount --lazy "$0"');
}

/** Keeps one thread of the server from running; answers what lets it run again. */
export async function stopThread(server, name) {
  for (const tid of await readdir(`/proc/${server.pid}/task`)) {
    const comm = await readFile(`/proc/${server.pid}/task/${tid}/comm`, 'utf8');
    if (comm.trim() !== name) continue;
    const script = fileURLToPath(new URL('stop_thread.py', import.meta.url));
    const tracer = start(program('python3'), [script, tid], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(tracer.stdout, 'data');
    return async () => {
      const ended = once(tracer, 'exit');
      tracer.stdin.end();
      await ended;
    };
  }
  throw new Error(`no thread ${name}`);
}

/** Stops the whole process, as a pause of its machine does; answers what lets it run again. */
export function pause(server) {
  process.kill(server.pid, 'SIGSTOP');
  return () => process.kill(server.pid, 'SIGCONT');
}

/** Memory of the server in MB. */
export async function memory(server) {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) / 1000);
}

/** What is open in the server: descriptors of the process. */
export const descriptors = async (server) => (await readdir(`/proc/${server.pid}/fd`)).length;

/** The 99th percentile and the slowest of some times. */
function times(took) {
  const sorted = [...took].sort((a, b) => a - b);
  return { p99_ms: sorted[Math.ceil(sorted.length * 0.99) - 1], slowest_ms: sorted.at(-1) };
}

/** Warnings and errors from the line `from` on, without their time, each once. */
function warnings(server, from) {
  const lines = server.log.slice(from).map((line) => / (WARN|ERROR) .*/.exec(line)?.[0].trim());
  return [...new Set(lines.filter(Boolean))].slice(0, LINES_MAX);
}

/** Every way to write: `{message, login, registration, upload}`, each whether it worked. */
async function writes(server, user, person) {
  const api = new Api(server);
  const works = async (method, path, options, errno) =>
    api.call(method, path, options).then(({ json }) => json?.errno === errno, () => false);
  const form = new FormData();
  form.set('api_token', user.token);
  form.set('roomid', String(ROOM));
  form.set('file', new Blob([png, String(Date.now())]), 'x.png');
  return {
    message: (await person.say('after')).ok === true,
    login: await works('POST', '/api/login', { body: { name: user.email, password: user.password } }, 0),
    registration: await api.register('late').then(() => true, () => false),
    upload: await works('POST', '/api/file/uploadimg', { form }, 200),
  };
}

/**
 * Plays one fault: someone talks ten times a second, `breaks` causes the fault and answers what ends
 * it, and everything must work again by itself. Answers the row of the table.
 *
 * `reason`: what `/ready` must say meanwhile; without it the node must stay ready. `isSilent`: it answers
 * nothing meanwhile, for as long as everybody waits. `refuses`: the code that publishers may get
 * meanwhile. `p99Max`: how long, in ms, others may wait, after what they waited before. `memoryMax`: MB more
 * than before, or than `memoryBefore`. `afterwards` must hold, and
 * answers more for the last column of the table.
 */
export async function playAlone(name, server, fault) {
  const { breaks, reason, refuses, promised, saw, isSilent = false, lasts = 4000, afterwards } = fault;
  const user = await new Api(server).register('anna');
  const person = await Person.open(server, user, ROOM);
  person.client.answerTimeoutMs += lasts;
  await person.join();
  const [firstLine, memories] = [server.log.length, [await memory(server)]];
  const [acked, refused, samples, pending] = [new Map(), [], [], new Set()];
  let isOver = false;
  const track = (promise) => {
    pending.add(promise);
    promise.finally(() => pending.delete(promise));
  };
  const say = async (text, sent = Date.now()) => {
    const { ok, seq, code } = await person.say(text);
    if (ok) acked.set(seq, { text, sent, took: Date.now() - sent });
    else refused.push(code);
  };
  const ask = async (at = Date.now()) => {
    const answer = await fetch(`${server.url}/ready`, { signal: AbortSignal.timeout(3000) });
    const { checks } = await answer.json();
    const why = Object.entries(checks).filter(([, state]) => state !== 'ok');
    samples.push({ at, status: answer.status, why: why.map(([dependency, state]) => `${dependency}: ${state}`) });
  };
  const talking = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const at = Date.now();
      track(say(`text ${n}`));
      track(ask(at).catch((error) => samples.push({ at, status: 0, why: [error.message] })));
      memories.push(await memory(server));
      await sleep(ASK_EVERY_MS);
    }
  })();
  await sleep(CALM_MS);
  const begun = Date.now();
  const heal = await breaks();
  await sleep(lasts - (Date.now() - begun));
  const healed = Date.now();
  const counted = await heal?.();
  const isReady = async () => (await fetch(`${server.url}/ready`)).status === 200;
  await eventually('the node is ready again', isReady, UP_WITHIN_MS);
  const upAfter = Date.now() - healed;
  const works = await writes(server, user, person);
  assert.deepEqual(works, { message: true, login: true, registration: true, upload: true }, 'all works again');
  const allAfter = Date.now() - healed;
  const noted = await afterwards?.(counted);
  isOver = true;
  await talking;
  await Promise.all(pending);
  person.close();

  const seen = samples.filter(({ at }) => at >= begun && at < healed).sort((a, b) => a.at - b.at);
  const firstDown = seen.find(({ status }) => status === 503);
  if (reason) {
    assert.ok(firstDown, `/ready says that it is down: ${JSON.stringify(seen)}`);
    assert.ok(firstDown.at - begun <= DOWN_WITHIN_MS, `it says so after ${firstDown.at - begun} ms`);
    const since = seen.filter(({ at }) => at >= firstDown.at);
    assert.deepEqual(since.filter(({ status }) => status !== 503), [], 'it says so until the fault ends');
    assert.ok(since.some(({ why }) => why.some((each) => reason.test(each))), JSON.stringify(since.at(-1)));
  } else {
    const isTrue = ({ status }) => status === 200 || (isSilent && status === 0);
    assert.deepEqual(seen.filter((sample) => !isTrue(sample)), [], '/ready stays 200');
  }
  assert.deepEqual(refused.filter((code) => code !== refuses), [], 'no message is refused for another reason');
  const texts = new Map();
  for (let page = 1; ; page += 1) {
    const { data } = await new Api(server).history(user.token, ROOM, `current=${page}&total=0`);
    if (data.length === 0) break;
    data.forEach(({ seq, msg }) => texts.set(seq, msg));
  }
  const lost = [...acked].filter(([seq, { text }]) => texts.get(seq) !== text).length;
  const twice = person.heard.length - new Set(person.heard).size;
  assert.deepEqual([lost, twice], [0, 0], 'nothing acknowledged is lost, nothing is heard twice');
  const during = [...acked.values()].filter(({ sent }) => sent >= begun && sent < healed);
  const took = (messages) => times(messages.map((message) => message.took));
  const load = {
    before: took([...acked.values()].filter(({ sent, took: ms }) => sent + ms < begun)),
    during: took(during),
    memory_mb: { before: fault.memoryBefore ?? memories[0], most: Math.max(...memories), after: await memory(server) },
    log: warnings(server, firstLine),
    noted,
  };
  const { p99Max = () => Infinity, memoryMax = Infinity } = fault;
  const isSoon = during.length === 0 || load.during.p99_ms <= p99Max(load.before.p99_ms);
  assert.ok(isSoon, `others wait: ${JSON.stringify(load)}`);
  assert.ok(load.memory_mb.most - load.memory_mb.before <= memoryMax, `memory: ${JSON.stringify(load)}`);
  return {
    fault: name,
    promised,
    lasted_ms: healed - begun,
    acked: during.length,
    refused: refused.length,
    refused_code: refuses,
    lost,
    repeated: twice,
    slowest: { ack_ms: load.during.slowest_ms },
    load,
    said: {
      ready: [...new Set(seen.map(({ status }) => status))],
      why: [...new Set(seen.flatMap(({ why }) => why))],
      down_after_ms: firstDown && firstDown.at - begun,
      up_after_ms: upAfter,
    },
    right_after_ms: { all: allAfter },
    saw,
  };
}

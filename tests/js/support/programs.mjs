// The one place that starts programs: external ones by their name in the table of
// tests/kit/src/programs.rs, ours by their path. A test of the kit checks every call.
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const runFile = promisify(execFile);

export const root = resolve(fileURLToPath(new URL('../../..', import.meta.url)));

/** Debian keeps the programs of PostgreSQL in a folder per version, and daemons off the path. */
function folders() {
  const postgres = '/usr/lib/postgresql';
  const versions = existsSync(postgres) ? readdirSync(postgres).sort().reverse() : [];
  const path = (process.env.PATH ?? '').split(':');
  return [...versions.map((version) => join(postgres, version, 'bin')), ...path, '/usr/sbin', '/sbin'];
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Path of an external program. */
export function program(name) {
  const path = folders().map((folder) => join(folder, name)).find(isExecutable);
  if (!path) throw new Error(`${name} is not installed: run \`cargo xtask setup\``);
  return path;
}

/** Path of a server binary: in `E2E_BIN_DIR`, or the dev build in `target/`. */
export function binary(name) {
  const path = join(process.env.E2E_BIN_DIR ?? join(root, 'target', 'debug'), name);
  if (!existsSync(path)) {
    throw new Error(`${path} is missing: build it first, or run the tests with \`cargo xtask test\``);
  }
  return path;
}

function absolute(path) {
  if (!isAbsolute(path)) throw new Error(`${path} is not the path of a program: use program() or binary()`);
  return path;
}

/** Starts a program and returns the child process. */
export const start = (path, args, options) => spawn(absolute(path), args, options);

/** The same with a process that the kernel ends when we end; as another user, if we are root. */
export function startService(path, args, { user, ...options } = {}) {
  const as = user && process.getuid() === 0 ? ['--reuid', user, '--regid', user, '--clear-groups'] : [];
  return start(program('setpriv'), ['--pdeathsig', 'KILL', ...as, absolute(path), ...args], options);
}

/** Runs a program to its end: `{stdout, stderr}`, or an error with those and `code`. */
export const run = (path, args, options) => runFile(absolute(path), args, options);

// Nodes that find nothing, both at once: the database has no tables yet, and Redis is empty.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { MariaDb, Postgres } from './support/databases.mjs';
import { endAll, stops } from './support/end.mjs';
import { Person, startNode } from './support/nodes.mjs';
import { eventually } from './support/server.mjs';
import { Redis } from './support/services.mjs';

describe('two nodes that start at the same moment are one server', () => {
  for (const [name, Database] of [['PostgreSQL', Postgres], ['MariaDB', MariaDb]]) {
    test(`on an empty ${name}`, { timeout: 120_000 }, async (t) => {
      const [server, redis] = await Promise.all([Database.start(), Redis.start()]);
      t.after(() => Promise.all([server.stop(), redis.stop()]));
      const database = await server.database();
      const begun = [1, 2].map(() => startNode({ redis: redis.url, database }));
      const nodes = await Promise.all(begun);
      try {
        const users = await Promise.all(nodes.map((node) => new Api(node).register('founder')));
        assert.notEqual(users[0].id, users[1].id);
        // Each on the node that the other was registered on.
        const [one, two] = await Promise.all(users.map((user, i) => Person.open(nodes[1 - i], user, 1)));
        await Promise.all([one.join(), two.join()]);
        const answers = await Promise.all([one.say('from one'), two.say('from two')]);
        assert.deepEqual(answers.map(({ ok, seq }) => [ok, seq]).sort(), [[true, 1], [true, 2]]);
        for (const person of [one, two]) {
          await eventually('both messages', () => person.heard.length === 2);
          assert.deepEqual(person.heard, [1, 2]);
        }
        one.close();
        two.close();
      } finally {
        await endAll(...stops(nodes));
      }
    });
  }
});

// The web client as two people use it: each in a browser context of their own, on a desktop and on a
// phone. Screenshots are kept as artefacts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { freshEmail, png } from './support/api.mjs';
import { Browser, desktop, phone, shoot } from './support/browser.mjs';
import { eventually, Server } from './support/server.mjs';

const local = (email) => email.split('@')[0];
const by = (id) => `[data-testid="${id}"]`;

/** One person in front of the page: what they do, and what they see. */
class Person {
  constructor({ context, page, errors }, server, name) {
    Object.assign(this, { context, page, errors, server, name });
    this.email = freshEmail(name);
  }

  static async arrive(browser, server, name, device = desktop) {
    const person = new Person(await browser.person(device), server, name);
    await person.page.goto(server.url);
    return person;
  }

  at(id) {
    return this.page.locator(by(id));
  }

  async register(password = 'secret-123') {
    await this.at('auth-form').waitFor();
    if (!(await this.at('auth-submit').textContent()).includes('Create')) await this.at('auth-switch').click();
    await this.at('auth-email').fill(this.email);
    await this.at('auth-password').fill(password);
    await this.at('auth-submit').click();
    await this.at('room-list').waitFor();
  }

  async logIn(password = 'secret-123') {
    await this.at('auth-form').waitFor();
    if ((await this.at('auth-submit').textContent()).includes('Create')) await this.at('auth-switch').click();
    await this.at('auth-email').fill(this.email);
    await this.at('auth-password').fill(password);
    await this.at('auth-submit').click();
  }

  async enter(room) {
    await this.at(`room-${room}`).click();
    await this.joined(room);
  }

  async joined(room) {
    await this.page.locator(`${by(`open-room-${room}`)}[data-phase="joined"]`).waitFor();
  }

  async sees(online) {
    await this.page.waitForFunction(
      ([selector, want]) => document.querySelector(selector)?.textContent === want,
      [by('roster-count'), String(online)],
    );
  }

  async say(text) {
    await this.at('composer-input').fill(text);
    await this.at('composer-send').click();
    await this.page
      .locator(`${by('message')}[data-own="true"][data-state="sent"]`, { hasText: text })
      .first()
      .waitFor();
  }

  async hears(text) {
    await this.page.locator(`${by('message')}[data-own="false"]`, { hasText: text }).first().waitFor();
  }

  async leave() {
    await this.at('leave-room').click();
    await this.page.locator(by('roster-count')).waitFor({ state: 'detached' });
  }

  async state(want) {
    await this.page.locator(`${by('connection-state')}[data-state="${want}"]`).waitFor({ state: 'attached' });
  }

  texts() {
    return this.at('message-text').allInnerTexts();
  }

  done() {
    assert.deepEqual(this.errors, [], `${this.name}: errors in the page`);
    return this.context.close();
  }
}

let browser;
before(async () => {
  browser = await Browser.launch();
});
after(() => browser?.close());

for (const shards of [1, 3]) {
  describe(`web client, ${shards} shard(s)`, () => {
    let server;
    before(async () => {
      server = await Server.start({ shards });
    });
    after(() => server?.stop());

    test('two people meet, talk, and part', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      const boris = await Person.arrive(browser, server, 'boris', phone);
      await shoot(anna.page, `web-${shards}-login-desktop`);
      await shoot(boris.page, `web-${shards}-login-phone`);
      await anna.register();
      await boris.register();
      assert.equal(await anna.at('own-name').textContent(), local(anna.email));
      await shoot(boris.page, `web-${shards}-rooms-phone`);

      await anna.enter(1);
      await anna.sees(1);
      await boris.enter(1);
      await Promise.all([anna.sees(2), boris.sees(2)]);
      const people = await anna.at('roster').locator('li').evaluateAll((list) => list.map((li) => li.dataset.name));
      assert.deepEqual(people.sort(), [local(anna.email), local(boris.email)].sort());

      await anna.say('hello 你好 😀 <b>not bold</b>');
      await boris.hears('hello 你好 😀 <b>not bold</b>');
      await boris.say('hi from the phone');
      await anna.hears('hi from the phone');
      await anna.at('composer-file').setInputFiles({ name: 'dot.png', mimeType: 'image/png', buffer: png });
      await anna.at('composer-preview').waitFor();
      await anna.at('composer-send').click();
      await boris.at('message-image').waitFor();
      await shoot(anna.page, `web-${shards}-room-desktop`);
      await shoot(boris.page, `web-${shards}-room-phone`);

      await boris.leave();
      await anna.sees(1);
      await anna.say('are you away?');
      await boris.at('room-unread-1').waitFor();
      assert.equal(await boris.at('room-unread-1').innerText(), '1');
      await shoot(boris.page, `web-${shards}-unread-phone`);
      await boris.enter(1);
      await anna.sees(2);
      await boris.hears('are you away?');
      await boris.page.close();
      await anna.sees(1);
      await Promise.all([anna.done(), boris.done()]);
    });

    test('a reload keeps the person, the room, and the conversation', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      const boris = await Person.arrive(browser, server, 'boris');
      await anna.register();
      await boris.register();
      await anna.enter(2);
      await boris.enter(2);
      await anna.sees(2);
      for (const text of ['first', 'second', 'third']) await anna.say(text);
      await boris.hears('third');
      await boris.page.reload();
      await boris.joined(2);
      await Promise.all([anna.sees(2), boris.sees(2)]);
      await boris.hears('third');
      assert.deepEqual((await boris.texts()).slice(-3), ['first', 'second', 'third'], 'once each, in order');

      // A second tab of the same person is no second person.
      const tab = await boris.context.newPage();
      await tab.goto(`${server.url}/#/room/2`);
      await tab.locator(`${by('open-room-2')}[data-phase="joined"]`).waitFor();
      await boris.say('from the first tab');
      await tab.locator(by('message'), { hasText: 'from the first tab' }).waitFor();
      await anna.sees(2);
      await tab.close();
      await boris.say('still here');
      await anna.hears('still here');
      await anna.sees(2);
      await Promise.all([anna.done(), boris.done()]);
    });

    test('history loads as one scrolls up, to the beginning of the room', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      await anna.register();
      await anna.enter(1);
      for (let i = 0; i < 50; i += 1) {
        await anna.say(`line ${String(i).padStart(2, '0')}`);
        // Below the publish rate of a person.
        if (i % 10 === 9) await anna.page.waitForTimeout(300);
      }
      await anna.page.reload();
      await anna.joined(1);
      await anna.page.locator(by('message'), { hasText: 'line 49' }).waitFor();
      const scroller = anna.page.locator('.scroller');
      await eventually('the beginning of the room', async () => {
        await scroller.evaluate((element) => { element.scrollTop = 0; });
        return (await anna.at('history-start').count()) > 0;
      }, 20_000);
      const lines = (await anna.texts()).filter((text) => text.startsWith('line '));
      assert.deepEqual(lines, Array.from({ length: 50 }, (_, i) => `line ${String(i).padStart(2, '0')}`));
      await shoot(anna.page, `web-${shards}-history`);
      await anna.done();
    });

    test('mistakes at login are explained in words', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      await anna.register();
      await anna.at('logout').click();
      await anna.logIn('wrong-password');
      await anna.at('auth-error').waitFor();
      assert.match(await anna.at('auth-error').innerText(), /wrong/i);
      await anna.logIn('secret-123');
      await anna.at('room-list').waitFor();
      assert.equal(await anna.at('own-name').textContent(), local(anna.email));

      const twin = await Person.arrive(browser, server, 'twin');
      twin.email = anna.email;
      await twin.at('auth-form').waitFor();
      await twin.at('auth-switch').click();
      if (!(await twin.at('auth-submit').textContent()).includes('Create')) await twin.at('auth-switch').click();
      await twin.at('auth-email').fill(twin.email);
      await twin.at('auth-password').fill('secret-123');
      await twin.at('auth-submit').click();
      await twin.at('auth-error').waitFor();
      assert.match(await twin.at('auth-error').innerText(), /already been taken/);
      await shoot(twin.page, `web-${shards}-taken`);
      await Promise.all([anna.done(), twin.done()]);
    });

    test('logging out leaves the room', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      const boris = await Person.arrive(browser, server, 'boris');
      await anna.register();
      await boris.register();
      await anna.enter(2);
      await boris.enter(2);
      await anna.sees(2);
      await boris.at('logout').click();
      await boris.at('auth-form').waitFor();
      await anna.sees(1);
      await Promise.all([anna.done(), boris.done()]);
    });

    test('light and dark, both readable', async () => {
      for (const colorScheme of ['light', 'dark']) {
        const anna = await Person.arrive(browser, server, 'anna', { ...desktop, colorScheme });
        await anna.register();
        await anna.enter(1);
        await anna.say(`in the ${colorScheme}`);
        assert.equal(await anna.at('theme-toggle').getAttribute('data-theme'), colorScheme);
        await shoot(anna.page, `web-${shards}-${colorScheme}`);
        await anna.done();
      }
    });

    test('the keyboard alone is enough', async () => {
      const anna = await Person.arrive(browser, server, 'anna');
      const boris = await Person.arrive(browser, server, 'boris');
      await boris.register();
      await boris.enter(2);
      await anna.at('auth-form').waitFor();
      if (!(await anna.at('auth-submit').textContent()).includes('Create')) {
        await anna.at('auth-switch').focus();
        await anna.page.keyboard.press('Enter');
      }
      await anna.at('auth-email').focus();
      await anna.page.keyboard.type(anna.email);
      await anna.page.keyboard.press('Tab');
      await anna.page.keyboard.type('secret-123');
      await anna.page.keyboard.press('Enter');
      await anna.at('room-list').waitFor();
      await anna.at('room-1').focus();
      await anna.page.keyboard.press('ArrowDown');
      await anna.page.keyboard.press('Enter');
      await anna.joined(2);
      await anna.at('composer-input').focus();
      await anna.page.keyboard.type('typed and sent');
      await anna.page.keyboard.press('Enter');
      await boris.hears('typed and sent');
      await Promise.all([anna.done(), boris.done()]);
    });
  });
}

for (const [device, options] of [['desktop', desktop], ['phone', phone]]) {
  test(`on a ${device} every user is back after a restart of the server`, async (t) => {
    const server = await Server.start({ shards: 3 });
    t.after(() => server.stop());
    const anna = await Person.arrive(browser, server, 'anna', options);
    const boris = await Person.arrive(browser, server, 'boris', options);
    await anna.register();
    await boris.register();
    await anna.enter(1);
    await boris.enter(1);
    await anna.sees(2);
    await anna.say('before');
    await boris.hears('before');
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      await server.end(signal);
      await anna.state('reconnecting');
      if (signal === 'SIGTERM') {
        await anna.page.waitForTimeout(1000);
        await shoot(anna.page, `web-reconnecting-${device}`);
      }
      // What is said meanwhile is sent when the connection is back.
      await anna.at('composer-input').fill(`said during ${signal}`);
      await anna.at('composer-send').click();
      await server.launch();
      await Promise.all([anna.state('online'), boris.state('online')]);
      await Promise.all([anna.joined(1), boris.joined(1)]);
      await Promise.all([anna.sees(2), boris.sees(2)]);
      await boris.hears(`said during ${signal}`);
    }
    const texts = await boris.texts();
    assert.deepEqual(texts, ['before', 'said during SIGTERM', 'said during SIGKILL'], 'once each');
    await shoot(anna.page, `web-back-${device}`);
    await Promise.all([anna.done(), boris.done()]);
  });
}

// Headless Chromium with screenshots and page errors kept.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { program } from './programs.mjs';
import { artifacts } from './server.mjs';

export const desktop = { viewport: { width: 1280, height: 800 } };
export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export class Browser {
  static async launch() {
    const it = new Browser();
    it.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? program('chromium'),
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });
    await mkdir(artifacts, { recursive: true });
    return it;
  }

  /** A page in a context of its own: another person. Errors of the page are kept in `errors`. */
  async person(options = desktop) {
    const context = await this.browser.newContext({ locale: 'en-GB', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    return { context, page, errors };
  }

  close() {
    return this.browser.close();
  }
}

export const shoot = (page, name) => page.screenshot({ path: join(artifacts, `${name}.png`) });

// A person with a headless Chromium: reads what to do as JSON from standard input, writes what was seen to standard output.
// The pages are looked at as they are: nothing is injected before the log of the page was read (screenshots hide no caret).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const told = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(join(told.modules, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const NARROW = { width: 320, height: 640 }; // WCAG 1.4.10: no scrolling in two directions at 320 CSS pixels
const seen = { log: [], planted: [], looks: {}, tab_order: {}, titles: {}, versions: {} };

async function browser(profile, options = {}) {
  const context = await chromium.launchPersistentContext(join(told.profiles, profile), {
    executablePath: told.chromium,
    headless: true,
    viewport: SIZES.desktop,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // the key of the development certificate and no other: an unknown certificate is still an error page
      `--ignore-certificate-errors-spki-list=${told.spki}`,
    ],
    ...options,
  });
  context.setDefaultTimeout(15000);
  return context;
}

async function tab(context, log = seen.log) {
  const page = await context.newPage();
  page.on("console", (message) => log.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => log.push(`error: ${error}`));
  const session = await context.newCDPSession(page);
  await session.send("Log.enable");
  session.on("Log.entryAdded", ({ entry }) => log.push(`${entry.source} ${entry.level}: ${entry.text} ${entry.url ?? ""}`));
  return page;
}

async function look(page, name) {
  seen.titles[name] = await page.title();
  const found = { violations: [], overflow: 0, targets: [] };
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      const path = join(told.screens, `${name}-${size}${colorScheme === "dark" ? "-dark" : ""}.png`);
      await page.screenshot({ path, fullPage: true, caret: "initial", animations: "allow" });
      await page.evaluate(axe);
      const result = await page.evaluate((values) => axe.run(document, { runOnly: { type: "tag", values } }), LEVELS);
      for (const { id, nodes } of result.violations) {
        found.violations.push(`${id} (${size}, ${colorScheme}): ${nodes.map((node) => node.html).join(" ")}`);
      }
      found.rules = result.passes.length;
    }
  }
  await page.setViewportSize(NARROW);
  found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.setViewportSize(SIZES.desktop);
  seen.looks[name] = found;
}

async function tabOrder(page, name) {
  const order = [];
  for (;;) {
    await page.keyboard.press("Tab");
    const id = await page.evaluate(() => document.activeElement?.id ?? "");
    if (!id || order.includes(id)) break;
    order.push(id);
  }
  seen.tab_order[name] = order;
}

async function signIn(page, password) {
  await page.fill("#username", told.username);
  await page.fill("#password", password);
  await page.click("#login-submit");
}

async function withScripts() {
  const context = await browser("with-scripts");
  seen.versions.chromium = context.browser()?.version() ?? "";
  const page = await tab(context);
  await page.goto(told.urls.approve);
  await look(page, "login");
  await tabOrder(page, "login");
  await signIn(page, "not the password");
  await page.waitForSelector("#login-problem");
  await look(page, "login-again");
  // with the keyboard alone: the fields in their order, and Enter
  await page.focus("#username");
  await page.keyboard.type(told.username);
  await page.keyboard.press("Tab");
  await page.keyboard.type(told.password);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#consent-approve");
  await look(page, "consent");
  await tabOrder(page, "consent");
  await page.click("#change-account");
  await page.waitForSelector("#change-account-back");
  await look(page, "change-account");
  await page.click("#change-account-back");
  await page.waitForSelector("#consent-approve");

  const other = await tab(context);
  await other.goto(`${told.issuer}/consent?interaction=nobodys`);
  await look(other, "error");
  seen.error = await other.textContent("#oauth-error");
  await other.goto(`${told.issuer}/logout`);
  await look(other, "sign-out");

  await page.click("#consent-approve");
  await page.waitForURL((url) => url.href.startsWith(told.callback));
  seen.callback = page.url();
  seen.landed = await page.textContent("body");

  await other.click("#logout-submit");
  await other.waitForSelector("#signed-out");
  await look(other, "signed-out");

  // the proof of the proof: what this log would have said of anything inline
  const planted = await tab(context, seen.planted);
  await planted.goto(`${told.issuer}/logout`);
  await planted.evaluate(() => document.body.setAttribute("style", "color: red"));
  await planted.waitForTimeout(200);
  await context.close();
}

async function withoutScripts() {
  const context = await browser("without-scripts", { javaScriptEnabled: false });
  const page = await tab(context);
  await page.goto(told.urls.deny);
  await page.fill("#username", told.username);
  await page.fill("#password", told.password);
  await page.dblclick("#login-submit"); // an impatient person: the answer to the first click is thrown away
  await page.waitForSelector("#consent-deny");
  await page.click("#consent-deny");
  await page.waitForURL((url) => url.href.startsWith(told.callback));
  seen.denied = page.url();
  await context.close();
}

await withoutScripts();
await withScripts();
process.stdout.write(JSON.stringify(seen));

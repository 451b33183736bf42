// Checks with names: each prints one line, and the process exits 0 if all have passed.
'use strict'

const checks = []

/** Add a check: an async function that throws if something is not as it should be. */
function check(name, run) {
  checks.push({ name, run })
}

/** Run the checks in order, then `close`, and end the process. */
async function finish(close) {
  let failures = 0
  for (const { name, run } of checks) {
    try {
      await run()
      console.log(`ok ${name}`)
    } catch (error) {
      failures += 1
      console.log(`not ok ${name}`)
      console.error(name, error)
    }
  }
  await close()
  process.exit(failures ? 1 : 0)
}

/** Call `probe` until it returns something true, for ten seconds at most. */
async function eventually(probe) {
  const deadline = Date.now() + 10_000
  while (!(await probe())) {
    if (Date.now() > deadline) throw new Error('it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

module.exports = { check, finish, eventually }

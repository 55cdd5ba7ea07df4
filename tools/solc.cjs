// The Solidity compiler of npm, answering like the native one: `--version`, and `--standard-json` from stdin.
//
// It stands in where no native compiler can be had. It compiles a few times slower, so answers are kept on disk,
// under the hash of the question and of the compiler; what was imported from files is hashed and checked too.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.resolve(__dirname, '..')
const CACHE = path.join(ROOT, 'build', 'solc', 'cache')
const KEEP = 32 // answers; one of all contracts is some 10 MB
const PACKAGE = path.join(ROOT, 'node_modules', 'solc')

// One compilation answers both the project's scripts and Brownie, which ask for different parts of its output.
const EVERYTHING = ['abi', 'devdoc', 'userdoc', 'storageLayout', 'evm.bytecode', 'evm.deployedBytecode']

function sha256(text) {
  return crypto.createHash('sha256').update(text).digest('hex')
}

function fail(message) {
  process.stderr.write(message + '\n')
  process.exit(1)
}

function parse(args) {
  const options = { version: false, standardJson: false, file: null, basePath: process.cwd(), roots: [], allowed: [] }
  const value = (i) => args[i] ?? fail(`Missing value after '${args[i - 1]}'`)
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '--version') options.version = true
    else if (arg === '--standard-json') options.standardJson = true
    else if (arg === '--base-path') options.basePath = path.resolve(value(++i))
    else if (arg === '--include-path') options.roots.push(path.resolve(value(++i)))
    else if (arg === '--allow-paths') options.allowed.push(...value(++i).split(',').filter(Boolean).map((p) => path.resolve(p)))
    else if (arg === '-') options.file = null
    else if (arg.startsWith('-')) fail(`unrecognised option '${arg}'`)
    else options.file = arg
  }
  options.roots.unshift(options.basePath)
  options.allowed.push(...options.roots, process.cwd())
  return options
}

function inside(folder, file) {
  const relative = path.relative(folder, file)
  return relative === '' || (!relative.startsWith('..') && !path.isAbsolute(relative))
}

// As the native compiler does: look in the base path, then in the include paths; read only below allowed folders.
function reader(options, seen) {
  return (name) => {
    const candidates = path.isAbsolute(name) ? [name] : options.roots.map((root) => path.join(root, name))
    const file = candidates.find((candidate) => fs.existsSync(candidate))
    if (!file) return { error: `Source "${name}" not found. Searched: ${candidates.join(', ')}.` }
    if (!options.allowed.some((folder) => inside(folder, path.resolve(file)))) {
      return { error: `File outside of allowed directories: ${file}` }
    }
    const contents = fs.readFileSync(file, 'utf8')
    seen[file] = sha256(contents)
    return { contents }
  }
}

function readOr(file, otherwise) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return otherwise
  }
}

// Written aside and renamed, so that two compilations at once never see half an answer.
function store(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const aside = `${file}.${process.pid}`
  fs.writeFileSync(aside, text)
  fs.renameSync(aside, file)
}

function prune() {
  const answers = fs.readdirSync(CACHE).filter((name) => name.endsWith('.json')).map((name) => path.join(CACHE, name))
  const byAge = answers.map((file) => [fs.statSync(file).mtimeMs, file]).sort((a, b) => b[0] - a[0])
  for (const [, file] of byAge.slice(KEEP)) fs.rmSync(file, { force: true })
}

function version() {
  const number = JSON.parse(fs.readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')).version
  const file = path.join(CACHE, `version-${number}.txt`)
  let text = readOr(file, null)
  if (text === null) {
    text = require(PACKAGE).version()
    store(file, text)
  }
  return text
}

// What to ask so that every asker's answer is a part of it; null when the question is of another form.
function widened(selection) {
  const whole = selection?.['*']
  if (!whole || Object.keys(selection).length !== 1 || Object.keys(whole).some((key) => key !== '*' && key !== '')) return null
  const asked = whole['*'] ?? []
  const covered = asked.every((name) => EVERYTHING.some((part) => name === part || name.startsWith(part + '.')))
  const needsCode = asked.some((name) => name.startsWith('evm.'))
  if (!covered || !needsCode || (whole[''] ?? []).some((name) => name !== 'ast')) return null
  return { '*': { '*': EVERYTHING, '': ['ast'] } }
}

function narrowed(output, selection) {
  const asked = selection['*']['*'] ?? []
  const pick = (value, prefix) => {
    const result = {}
    for (const [key, part] of Object.entries(value)) {
      const name = prefix ? `${prefix}.${key}` : key
      if (asked.some((wanted) => name === wanted || name.startsWith(wanted + '.'))) result[key] = part
      else if (asked.some((wanted) => wanted.startsWith(name + '.'))) result[key] = pick(part, name)
    }
    return result
  }
  for (const contracts of Object.values(output.contracts ?? {})) {
    for (const name of Object.keys(contracts)) contracts[name] = pick(contracts[name], '')
  }
  if (!(selection['*'][''] ?? []).includes('ast')) for (const source of Object.values(output.sources ?? {})) delete source.ast
  return output
}

function compile(options) {
  const input = JSON.parse(fs.readFileSync(options.file ?? 0, 'utf8'))
  const selection = input.settings?.outputSelection
  const wide = widened(selection)
  if (wide) input.settings.outputSelection = wide
  // The order of the sources is left to the asker by the format and changes nothing but the syntax tree's numbers.
  if (input.sources) input.sources = Object.fromEntries(Object.entries(input.sources).sort(([a], [b]) => (a < b ? -1 : 1)))
  const settings = Object.entries(input.settings ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  const question = JSON.stringify([version(), options.roots, input.language, settings, input.sources])
  const file = path.join(CACHE, `${sha256(question)}.json`)

  const kept = JSON.parse(readOr(file, 'null'))
  const holds = kept && Object.entries(kept.imports).every(([name, hash]) => sha256(readOr(name, '')) === hash)
  let output = kept?.output
  if (!holds) {
    const imports = {}
    output = JSON.parse(require(PACKAGE).compile(JSON.stringify(input), { import: reader(options, imports) }))
    // A file that was missing may appear: an answer with errors is not kept.
    if (!(output.errors ?? []).some((error) => error.severity === 'error')) {
      store(file, JSON.stringify({ imports, output }))
      prune()
    }
  }
  return wide ? narrowed(output, selection) : output
}

const options = parse(process.argv.slice(2))
if (options.version) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version()}\n`)
} else if (options.standardJson) {
  process.stdout.write(JSON.stringify(compile(options)) + '\n')
} else {
  fail('Only --version and --standard-json are answered here.')
}

// Loaded into the main process before the app: no host name resolves, as on a machine without a network.
const dns = require('dns');

dns.lookup = (host, options, callback = options) =>
  process.nextTick(callback, Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' }));

// Does what aws-actions/amazon-ecr-login does: asks ECR for the tokens of registries, logs
// docker in to each, and gives out each one's address, user and password under names that
// are made of the address.
const { execFileSync } = require('node:child_process');
const core = require('@actions/core');
const { ECRClient, GetAuthorizationTokenCommand } = require('@aws-sdk/client-ecr');

async function run() {
  const registries = core.getInput('registries').split(',').map((r) => r.trim()).filter(Boolean);
  const client = new ECRClient({ customUserAgent: 'amazon-ecr-login-for-github-actions' });
  const reply = await client.send(new GetAuthorizationTokenCommand(registries.length > 0 ? { registryIds: registries } : {}));
  for (const auth of reply.authorizationData) {
    const [user, password] = Buffer.from(auth.authorizationToken, 'base64').toString('utf8').split(':', 2);
    const registry = auth.proxyEndpoint.replace(/^https?:\/\//, '');
    const suffix = registry.replace(/[^a-zA-Z0-9_]+/g, '_');
    if (core.getInput('mask-password') !== 'false') core.setSecret(password);
    if (core.getInput('skip-logout') === 'true') core.debug('the login stays');
    if (reply.authorizationData.length === 1) core.setOutput('registry', registry);
    execFileSync('docker', ['login', '-u', user, '-p', password, auth.proxyEndpoint], { stdio: ['ignore', 'inherit', 'pipe'] });
    core.setOutput(`docker_username_${suffix}`, user);
    core.setOutput(`docker_password_${suffix}`, password);
  }
}

run().catch((e) => core.setFailed(e.message));

// Does what aws-actions/configure-aws-credentials does for a workflow that has
// id-token: write and gives role-to-assume: asks GitHub for a token for AWS, exchanges it
// for the role's session with AWS's SDK for JavaScript, exports the session, and checks
// that it works.
const core = require('@actions/core');
const { STSClient, AssumeRoleWithWebIdentityCommand, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');

async function run() {
  const region = core.getInput('aws-region', { required: true });
  const role = core.getInput('role-to-assume', { required: true });
  const agent = 'configure-aws-credentials-for-github-actions';
  const token = await core.getIDToken(core.getInput('audience') || 'sts.amazonaws.com');
  const sts = new STSClient({ region, customUserAgent: agent });
  const { Credentials } = await sts.send(new AssumeRoleWithWebIdentityCommand({
    RoleArn: role,
    RoleSessionName: core.getInput('role-session-name') || 'GitHubActions',
    DurationSeconds: Number(core.getInput('role-duration-seconds') || 3600),
    WebIdentityToken: token,
  }));
  core.setSecret(Credentials.SecretAccessKey);
  core.setSecret(Credentials.SessionToken);
  const out = {
    AWS_REGION: region, AWS_DEFAULT_REGION: region, AWS_ACCESS_KEY_ID: Credentials.AccessKeyId,
    AWS_SECRET_ACCESS_KEY: Credentials.SecretAccessKey, AWS_SESSION_TOKEN: Credentials.SessionToken,
  };
  for (const [name, value] of Object.entries(out)) core.exportVariable(name, value);
  const me = await new STSClient({ region, customUserAgent: agent }).send(new GetCallerIdentityCommand({}));
  core.setOutput('aws-account-id', me.Account);
}

run().catch((e) => core.setFailed(e.message));

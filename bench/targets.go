package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// kind is a way to start one registry.
type kind struct {
	name   string
	binary string
	args   func(dir, addr string) ([]string, error)
	// login returns the Authorization header once the server answers.
	login func(ctx context.Context, t *target) (string, error)
	// base is the floor that it is compared to, tls whether it is asked by TLS.
	base string
	tls  bool
}

// target is a running registry.
type target struct {
	kind
	dir, url, auth string
	cmd            *exec.Cmd
	client         *http.Client
	startup        time.Duration
	keys           aws.Credentials // of Berth
}

// findTargets resolves names. "berth-user" is Berth driven by an IAM user whose
// rights come from a group's policies; "berth-rules" one with rules, one of which sends
// every push to a log group; "berth-all" both of them, and "berth-tls" that by TLS;
// "berth-pg" Berth on PostgreSQL; "berth-before" another binary of it.
func findTargets(names []string, berth, before string, pg *postgres) ([]kind, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out []kind
	for _, n := range names {
		k := kind{name: n, base: "floor"}
		if k.tls = strings.HasSuffix(n, "-tls"); k.tls {
			k.base = "floor-tls"
		}
		switch n {
		case "floor", "floor-tls":
			k.binary = self
			k.args = func(dir, addr string) ([]string, error) {
				certificate, err := k.certificate(dir)
				return append([]string{"floor", addr, dir}, certificate...), err
			}
		case "berth", "berth-user", "berth-rules", "berth-all", "berth-tls", "berth-pg", "berth-before":
			if k.binary = berth; n == "berth-before" {
				k.binary = before
			}
			k.args = func(dir, addr string) ([]string, error) {
				args := []string{"serve", "--listen", addr, "--admin", admin(), "--data", filepath.Join(dir, "data"), "--access-log", filepath.Join(dir, "access.log")}
				certificate, err := k.certificate(dir)
				if err == nil && certificate != nil {
					args = append(args, "--tls-cert", certificate[0], "--tls-key", certificate[1])
				}
				if err == nil && n == "berth-pg" {
					var url string
					url, err = pg.schema(dir)
					args = append(args, "--db", url)
				}
				return args, err
			}
			k.login = berthLogin
			switch n {
			case "berth-user":
				k.login = userLogin
			case "berth-rules":
				k.login = rulesLogin
			case "berth-all", "berth-tls":
				k.login = allLogin
			}
		case "distribution", "docker-registry":
			k.binary = map[string]string{"distribution": "registry", "docker-registry": "docker-registry"}[n]
			k.args = distributionArgs
		case "zot":
			k.binary = "zot"
			k.args = func(dir, addr string) ([]string, error) {
				host, port, _ := net.SplitHostPort(addr)
				conf := filepath.Join(dir, "zot.json")
				return []string{"serve", conf}, os.WriteFile(conf, fmt.Appendf(nil, `{"distSpecVersion":"1.1.0","storage":{"rootDirectory":%q,"commit":true,"gc":false,"dedupe":true},"http":{"address":%q,"port":%q},"log":{"level":"error"}}`,
					filepath.Join(dir, "data"), host, port), 0o600)
			}
		default:
			return nil, fmt.Errorf("unknown target %q", n)
		}
		if _, err := exec.LookPath(k.binary); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not on PATH and left out\n", k.binary)
			continue
		}
		out = append(out, k)
	}
	return out, nil
}

// admin lets profiles be taken of the server under load.
func admin() string {
	if a := os.Getenv("BENCH_ADMIN"); a != "" {
		return a
	}
	return "none"
}

func distributionArgs(dir, addr string) ([]string, error) {
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n",
		filepath.Join(dir, "data"), addr)
	return []string{"serve", conf}, os.WriteFile(conf, []byte(text), 0o600)
}

// start runs a registry on a directory and waits until it answers.
func (k kind) start(ctx context.Context, dir string) (*target, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	args, err := k.args(dir, addr)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	t := &target{kind: k, dir: dir, url: "http://" + addr, client: &http.Client{Transport: transport}}
	if k.tls {
		t.url = "https://" + addr
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the certificate is this program's own
	}
	t.cmd = exec.Command(k.binary, args...)
	t.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t.cmd.Stdout, t.cmd.Stderr = log, log
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			if k.tls {
				c = tls.Client(c, transport.TLSClientConfig)
			}
			_, _ = io.WriteString(c, "GET /v2/ HTTP/1.0\r\n\r\n")
			line, rerr := bufio.NewReader(c).ReadString('\n')
			c.Close()
			if rerr == nil && strings.HasPrefix(line, "HTTP/1") {
				break
			}
		}
		if time.Since(began) > 20*time.Second || ctx.Err() != nil {
			t.stop()
			b, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("%s did not start: %s", k.name, b)
		}
		time.Sleep(500 * time.Microsecond)
	}
	t.startup = time.Since(began)
	if k.login != nil {
		if t.auth, err = k.login(ctx, t); err != nil {
			t.stop()
			return nil, err
		}
	}
	return t, nil
}

func (t *target) stop() {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = t.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		_ = t.cmd.Process.Kill()
		<-done
	}
	t.client.CloseIdleConnections()
}

// certificate makes one for a target that is asked by TLS: the files of it and its key.
func (k kind) certificate(dir string) ([]string, error) {
	if !k.tls {
		return nil, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	files := []string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	return files, errors.Join(os.WriteFile(files[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(files[1], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// berthLogin logs in as root and lets pushes create their repositories.
func berthLogin(ctx context.Context, t *target) (string, error) {
	cfg, err := berthConfig(ctx, t)
	if err != nil {
		return "", err
	}
	return registryToken(ctx, cfg)
}

// allLogin has everything on: rules, and a user whose rights come from policies.
func allLogin(ctx context.Context, t *target) (string, error) {
	if _, err := rulesLogin(ctx, t); err != nil {
		return "", err
	}
	return userLogin(ctx, t)
}

// rulesLogin makes rules: the one that creates repositories on push, twenty that match
// nothing, and one that sends every push to a log group.
func rulesLogin(ctx context.Context, t *target) (string, error) {
	cfg, err := berthConfig(ctx, t)
	if err != nil {
		return "", err
	}
	group := "arn:aws:logs:us-east-1:000000000000:log-group:/pushes"
	_, err = cloudwatchlogs.NewFromConfig(cfg).CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/pushes")})
	if err != nil && !strings.Contains(err.Error(), "AlreadyExists") {
		return "", err
	}
	patterns := map[string]string{"pushes": `{"source":["aws.ecr"],"detail-type":["ECR Image Action"],"detail":{"action-type":["PUSH"]}}`,
		"missed": `{"source":["aws.ecr"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["InitiateLayerUpload"],"errorCode":["RepositoryNotFoundException"]}}`}
	for i := range 20 {
		patterns[fmt.Sprint("other", i)] = fmt.Sprintf(`{"source":["aws.ecr"],"detail":{"eventName":["PutImage"],"requestParameters":{"repositoryName":[{"prefix":"none%d/"}]}}}`, i)
	}
	api := eventbridge.NewFromConfig(cfg)
	for name, pattern := range patterns {
		if _, err := api.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}); err != nil {
			return "", err
		}
		if _, err := api.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []eventtypes.Target{{Id: aws.String("log"), Arn: &group}}}); err != nil {
			return "", err
		}
	}
	return registryToken(ctx, cfg)
}

// userLogin makes a user whose rights come from the policies of a group, with
// conditions, among others that do not apply.
func userLogin(ctx context.Context, t *target) (string, error) {
	cfg, err := berthConfig(ctx, t)
	if err != nil {
		return "", err
	}
	api := iam.NewFromConfig(cfg)
	name := aws.String("bench")
	_, err = api.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: name})
	if err != nil && !strings.Contains(err.Error(), "EntityAlreadyExists") {
		return "", err
	}
	statements := []string{`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`}
	for i := range 10 {
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":["ecr:Get*","ecr:Put*"],"Resource":"arn:aws:ecr:*:*:repository/other%d/*","Condition":{"StringLike":{"aws:PrincipalTag/team":"t%d*"}}}`, i, i))
	}
	statements = append(statements, `{"Effect":"Allow","Action":["ecr:*"],"Resource":"arn:aws:ecr:*:*:repository/*","Condition":{"IpAddress":{"aws:SourceIp":["127.0.0.0/8","::1"]},"StringEquals":{"aws:username":"bench"}}}`)
	document := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	if _, err := api.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: name, PolicyName: name, PolicyDocument: &document}); err != nil {
		return "", err
	}
	if _, err = api.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); err != nil && !strings.Contains(err.Error(), "EntityAlreadyExists") {
		return "", err
	}
	if _, err := api.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: name, UserName: name}); err != nil {
		return "", err
	}
	key, err := api.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		return "", err
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	return registryToken(ctx, cfg)
}

func registryToken(ctx context.Context, cfg aws.Config) (string, error) {
	token, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	return "Basic " + aws.ToString(token.AuthorizationData[0].AuthorizationToken), nil
}

// berthConfig is the root's, of a server that creates repositories on push.
func berthConfig(ctx context.Context, t *target) (cfg aws.Config, err error) {
	out, err := exec.CommandContext(ctx, t.binary, "env", "--data", filepath.Join(t.dir, "data"), "--output", "json").Output()
	if err != nil {
		time.Sleep(50 * time.Millisecond) // the runtime file follows the first answer
		if out, err = exec.CommandContext(ctx, t.binary, "env", "--data", filepath.Join(t.dir, "data"), "--output", "json").Output(); err != nil {
			return cfg, err
		}
	}
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		return cfg, err
	}
	t.keys = aws.Credentials{AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: env["AWS_SECRET_ACCESS_KEY"]}
	cfg = aws.Config{Region: env["AWS_REGION"], BaseEndpoint: aws.String(t.url), HTTPClient: t.client, Credentials: credentials.StaticCredentialsProvider{Value: t.keys}}
	_, err = ecr.NewFromConfig(cfg).CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: aws.String("ROOT"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}})
	if err != nil && !strings.Contains(err.Error(), "AlreadyExists") {
		return cfg, err
	}
	return cfg, nil
}

// usage is what a process has used so far.
type usage struct {
	cpu     time.Duration
	rss     int64 // KiB now
	peakRSS int64 // KiB
}

func (t *target) usage() usage {
	var u usage
	pid := strconv.Itoa(t.cmd.Process.Pid)
	if b, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil {
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		user, _ := strconv.ParseInt(string(f[11]), 10, 64)
		sys, _ := strconv.ParseInt(string(f[12]), 10, 64)
		u.cpu = time.Duration(user+sys) * 10 * time.Millisecond
	}
	if b, err := os.ReadFile("/proc/" + pid + "/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(line, ":")
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			switch k {
			case "VmRSS":
				u.rss = n
			case "VmHWM":
				u.peakRSS = n
			}
		}
	}
	return u
}

package console_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/berth-registry/berth/internal/berthtest"
)

// The server maps with processes of the real program.
func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

// site is a server with its console: the real program.
type site struct {
	t    *testing.T
	s    *berthtest.Server
	data string
	base string
	aws  aws.Config
}

func newSite(t *testing.T, flags ...string) *site {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	s := berthtest.Start(t, data, append([]string{"--access-log", "off"}, flags...)...)
	t.Cleanup(func() {
		for line := range strings.Lines(s.Log()) {
			if strings.Contains(line, `"level":"ERROR"`) {
				t.Errorf("the server logged: %s", line)
			}
		}
	})
	return &site{t: t, s: s, data: data, base: s.Endpoint, aws: aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.Env["AWS_ACCESS_KEY_ID"], s.Env["AWS_SECRET_ACCESS_KEY"], "")}}
}

// push stores an image with layers of some sizes by ECR's API, and returns its digest.
func (s *site) push(repo, tag string, config map[string]any, sizes ...int) string {
	s.t.Helper()
	c := ecr.NewFromConfig(s.aws)
	layer := func(b []byte) map[string]any {
		d := digestOf(b)
		up, err := c.InitiateLayerUpload(s.t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: &repo})
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := c.UploadLayerPart(s.t.Context(), &ecr.UploadLayerPartInput{RepositoryName: &repo, UploadId: up.UploadId, PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(int64(len(b) - 1)), LayerPartBlob: b}); err != nil {
			s.t.Fatal(err)
		}
		if _, err := c.CompleteLayerUpload(s.t.Context(), &ecr.CompleteLayerUploadInput{RepositoryName: &repo, UploadId: up.UploadId, LayerDigests: []string{d}}); err != nil && !strings.Contains(err.Error(), "LayerAlreadyExists") {
			s.t.Fatal(err)
		}
		return map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": d, "size": len(b)}
	}
	text, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	conf := layer(text)
	conf["mediaType"] = "application/vnd.oci.image.config.v1+json"
	layers := []any{}
	for i, n := range sizes {
		layers = append(layers, layer(bytes.Repeat([]byte{byte(i + 1)}, n)))
	}
	return s.put(repo, tag, map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": conf, "layers": layers})
}

func (s *site) put(repo, tag string, manifest map[string]any) string {
	s.t.Helper()
	body, err := json.Marshal(manifest)
	if err != nil {
		s.t.Fatal(err)
	}
	in := &ecr.PutImageInput{RepositoryName: &repo, ImageManifest: aws.String(string(body))}
	if tag != "" {
		in.ImageTag = &tag
	}
	if _, err := ecr.NewFromConfig(s.aws).PutImage(s.t.Context(), in); err != nil {
		s.t.Fatal(err)
	}
	return digestOf(body)
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (s *site) repository(name string) {
	s.t.Helper()
	if _, err := ecr.NewFromConfig(s.aws).CreateRepository(s.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
		s.t.Fatal(err)
	}
}

// link asks for a sign-in link with the real command.
func (s *site) link() string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), berthtest.Binary(s.t), "console", "--data", s.data, "--output", "json").CombinedOutput()
	if err != nil {
		s.t.Fatalf("berth console: %v %s", err, out)
	}
	var v struct{ URL string }
	if err := json.Unmarshal(out, &v); err != nil {
		s.t.Fatal(err)
	}
	return v.URL
}

// browser is a tab of a real Chromium.
type browser struct {
	*site
	ctx     context.Context
	shots   string
	started bool
}

// chromium starts one for a test. In CI its absence is a failure.
func (s *site) chromium(more ...chromedp.ExecAllocatorOption) *browser {
	s.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "" {
			s.t.Skip("there is no chromium here: apt-get install chromium")
		}
		s.t.Fatal(err)
	}
	options := append(more, chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.DisableGPU, chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true), chromedp.UserDataDir(s.t.TempDir()))
	alloc, stopAll := chromedp.NewExecAllocator(context.WithoutCancel(s.t.Context()), options...)
	ctx, stop := chromedp.NewContext(alloc)
	s.t.Cleanup(func() { stop(); stopAll() })
	b := &browser{site: s, ctx: ctx, shots: s.t.ArtifactDir()}
	if dir := os.Getenv("BERTH_SHOTS"); dir != "" {
		b.shots = dir
	}
	b.do(chromedp.Navigate("about:blank"))
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			if text := fmt.Sprint(m); (m.IsException() || string(m.Type) == "error") && !strings.Contains(text, "the server responded with a status of 4") {
				s.t.Errorf("the browser's console: %s", text)
			}
		}
	}()
	return b
}

// signedIn is a browser that came in by the link of berth console.
func (s *site) signedIn() *browser {
	s.t.Helper()
	b := s.chromium()
	b.do(chromedp.Navigate(s.link()))
	b.press("Sign in with this link")
	b.see("Overview")
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx := b.ctx
	if b.started { // the first run must not be limited
		var stop func()
		ctx, stop = context.WithTimeout(b.ctx, 20*time.Second)
		defer stop()
	}
	b.started = true
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.failed(err)
	}
}

// failed ends the test, with a picture of what there was.
func (b *browser) failed(err error) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, 5*time.Second)
	defer stop()
	if png, serr := chromedp.Run(ctx, chromedp.FullScreenshot(100)); serr == nil {
		file := filepath.Join(b.shots, "failed-"+strings.ReplaceAll(b.t.Name(), "/", "-")+".png")
		_ = os.WriteFile(file, png, 0o600)
		b.t.Log("a picture of it is in", file)
	}
	b.t.Fatal(err)
}

func (b *browser) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.base + path)) }

func value[T any](b *browser, js string) T {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, 30*time.Second)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.failed(fmt.Errorf("%s: %w", js, err))
	}
	return v
}

// until waits for something to be true in the page.
func (b *browser) until(what, js string) {
	b.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ctx, stop := context.WithTimeout(b.ctx, 5*time.Second)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](js)) // a page that is going has no values
		stop()
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			b.failed(fmt.Errorf("%s: not seen (%v); the page says %.1500q", what, err, value[string](b, "document.body.innerText")))
		}
	}
}

func quote(s string) string {
	q, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(q)
}

// see waits for a text on the page.
func (b *browser) see(text string) {
	b.t.Helper()
	b.until(text, "document.readyState === 'complete' && document.body.innerText.includes("+quote(text)+")")
}

// target marks e as what is acted on next.
const target = `document.querySelector("[data-target-now]")?.removeAttribute("data-target-now"); e.setAttribute("data-target-now", ""); return true`

// fill types into a field, by its label or name.
func (b *browser) fill(name, text string) {
	b.t.Helper()
	b.until("field "+name, fmt.Sprintf(`(() => { const e = %s; if (!e) return false; e.scrollIntoView({block: "center"}); e.focus(); e.select?.(); return document.activeElement === e })()`, field(name)))
	if _, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.failed(err)
	}
}

// set gives a field a long value at once.
func (b *browser) set(name, text string) {
	b.t.Helper()
	b.until("field "+name, fmt.Sprintf(`(() => { const e = %s; if (!e) return false; e.value = %s; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); return true })()`, field(name), quote(text)))
}

// field finds a visible field by its label's text, its name or id.
func field(name string) string {
	q := quote(name)
	return `((n) => [...document.querySelectorAll("input:not([type=hidden]), select, textarea")].filter(e => e.checkVisibility()).find(e => [...(e.labels ?? [])].some(l => l.innerText.trim() === n || l.innerText.trim().startsWith(n)) || e.getAttribute("aria-label") === n || e.name === n || e.id === n))(` + q + ")"
}

// press clicks a visible button or link by its text or label.
func (b *browser) press(text string) {
	b.t.Helper()
	q := quote(text)
	find := `((n) => { const open = document.querySelector("dialog[open]"); const all = "button, a, summary, label"; return [...(open ?? document).querySelectorAll("main " + all.replaceAll(", ", ", main ")), ...(open ? [] : document.querySelectorAll(all))].filter(e => e.checkVisibility()).find(e => (e.innerText ?? e.textContent).trim() === n || e.getAttribute("aria-label") === n) })(` + q + ")"
	mark := `(() => { if (document.readyState !== "complete") return false; const e = ` + find + `; if (!e) return false; e.scrollIntoView({block: "center"}); window.before = true; window.leads = !!(e.closest("a[href]") || e.type === "submit" && e.form); ` + target + ` })()`
	b.until("button "+text, mark)
	// What leads to another page has done so before the test goes on.
	leads := value[bool](b, "!!window.leads")
	for try := 0; ; try++ { // a part that is brought up to date meanwhile has another button in its place
		ctx, stop := context.WithTimeout(b.ctx, 4*time.Second)
		err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("[data-target-now]")))
		stop()
		if err == nil {
			break
		}
		if try == 3 {
			b.failed(fmt.Errorf("press %s: %w", text, err))
		}
		b.until("button "+text, mark)
	}
	if leads {
		b.until("the page behind "+text, "!window.before && document.readyState === 'complete'")
	}
}

// sizes of screens that pages are looked at in.
var screens = []struct {
	name          string
	width, height int64
	dark          bool
}{{"wide-light", 1440, 900, false}, {"wide-dark", 1440, 900, true}, {"narrow-light", 360, 780, false}, {"narrow-dark", 360, 780, true}}

// look takes pictures of the page in each screen and checks it: nothing is wider than the
// screen, and axe finds nothing.
func (b *browser) look(name string) {
	b.t.Helper()
	for _, s := range screens {
		scheme := "light"
		if s.dark {
			scheme = "dark"
		}
		b.do(chromedp.EmulateViewport(s.width, s.height))
		b.colorScheme(scheme)
		time.Sleep(50 * time.Millisecond) // for transitions of colour
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			b.failed(err)
		}
		if err := os.WriteFile(filepath.Join(b.shots, name+"-"+s.name+".png"), png, 0o600); err != nil {
			b.t.Fatal(err)
		}
		if wide := value[int](b, "document.documentElement.scrollWidth"); wide > int(s.width) {
			b.t.Errorf("%s is %d wide on a screen of %d: %s", name, wide, s.width, value[[]string](b, `[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, .tabs, pre")).map(e => e.outerHTML.slice(0, 120))`))
		}
		b.axe(name + " " + s.name)
	}
	b.do(chromedp.EmulateViewport(1280, 900))
	b.colorScheme("light")
}

func (b *browser) colorScheme(scheme string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		b.failed(err)
	}
}

// axe runs axe-core on the page: its rules for WCAG 2.2 level AA.
func (b *browser) axe(name string) {
	b.t.Helper()
	file := "../bin/tools/axe/node_modules/axe-core/axe.min.js"
	text, err := os.ReadFile(file)
	if err != nil {
		if os.Getenv("CI") == "" {
			b.t.Log("axe-core is not here; scripts/test-tools installs it")
			return
		}
		b.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(b.ctx, 30*time.Second)
	defer stop()
	if !value[bool](b, "!!window.axe") {
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](string(text)+"; null")); err != nil {
			b.failed(err)
		}
	}
	found := value[[]string](b, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + " — " + n.failureSummary)))`)
	for _, v := range found {
		b.t.Errorf("%s: axe: %s", name, v)
	}
}

// catalog sends a request to the catalog's API.
func (s *site) catalog(method, path string, in any) map[string]any {
	s.t.Helper()
	keys, err := s.aws.Credentials.Retrieve(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	token, _ := s.send("POST", "/v1/auth/access_token", "", map[string]any{"clientId": keys.AccessKeyID, "clientSecret": keys.SecretAccessKey})["accessToken"].(string)
	return s.send(method, "/v1/"+path, "Bearer "+token, in)
}

func (s *site) send(method, path, authorization string, in any) map[string]any {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 || len(text) > 0 && json.Unmarshal(text, &out) != nil {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, text, err)
	}
	return out
}

// made pushes to a repository that a template makes.
func (s *site) made(repo string) {
	s.t.Helper()
	token, err := ecr.NewFromConfig(s.aws).GetAuthorizationToken(s.t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		s.t.Fatal(err)
	}
	auth := "Basic " + *token.AuthorizationData[0].AuthorizationToken
	s.send("POST", "/v2/"+repo+"/blobs/uploads/?digest="+digestOf([]byte("{}")), auth, map[string]any{})
}

// manifestSize is the length of a manifest as it was pushed.
func (s *site) manifestSize(repo, digest string) int {
	s.t.Helper()
	out, err := ecr.NewFromConfig(s.aws).BatchGetImage(s.t.Context(), &ecr.BatchGetImageInput{RepositoryName: &repo, ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(*out.Images[0].ImageManifest)
}

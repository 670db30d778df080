// The editor's own script, after `const EXAMPLES = [...]`. Where GraphiQL could not be loaded, a plain editor does.

let token = null;
const wanted = Object.fromEntries(new URLSearchParams(window.location.search));
const address = window.location.href.split("?")[0];

// A token that is refused is forgotten, or nobody could sign in again.
async function send(url, options) {
  const headers = new Headers(options.headers);
  if (token && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
  const answer = await fetch(url, { ...options, headers });
  const told = await answer.clone().json().catch(() => ({}));
  token = told.data?.signIn?.tokens?.accessToken ?? token;
  if (told.errors?.some((error) => error.extensions?.code === "UNAUTHENTICATED")) token = null;
  return answer;
}

function graphiql(place, tabs) {
  ReactDOM.createRoot(place).render(React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: address, fetch: send }),
    plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    defaultEditorToolsVisibility: "variables",
    defaultTabs: tabs,
    variables: wanted.variables,
    inputValueDeprecation: true,
  }));
}

function plain(place, tabs) {
  place.innerHTML = `
    <style>
      .plain { display: grid; grid-template: auto 2fr 1fr auto / 1fr 1fr; gap: 8px; height: 100vh; padding: 12px;
               box-sizing: border-box; font: 14px system-ui, sans-serif; }
      .plain nav, .plain footer { grid-column: 1 / 3; display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
      .plain textarea, .plain pre { font: 13px ui-monospace, monospace; margin: 0; padding: 8px; border: 1px solid #999;
               border-radius: 4px; resize: none; overflow: auto; tab-size: 2; white-space: pre-wrap; overflow-wrap: anywhere; }
      .plain pre { grid-area: 2 / 2 / 4 / 3; background: #f6f6f6; }
      .plain button { font: inherit; padding: 4px 10px; }
      .plain button[aria-pressed=true] { font-weight: bold; }
    </style>
    <div class="plain">
      <nav aria-label="Examples"></nav>
      <textarea aria-label="Document" spellcheck="false"></textarea>
      <textarea aria-label="Variables as JSON" spellcheck="false" style="grid-row: 3"></textarea>
      <pre aria-label="Answer" aria-live="polite"></pre>
      <footer><button type="button">Send (Ctrl-Enter)</button>
        <span>GraphiQL's scripts come from the web, which this browser does not reach: this is a plain
        editor.</span></footer>
    </div>`;
  const [documentArea, variablesArea] = place.querySelectorAll("textarea");
  const shown = place.querySelector("pre");
  const examples = place.querySelector("nav");

  const open = (tab, chosen) => {
    documentArea.value = tab.query;
    variablesArea.value = tab.variables ?? "{}";
    for (const button of examples.children) button.setAttribute("aria-pressed", button === chosen);
  };
  for (const tab of tabs) {
    const button = document.createElement("button");
    button.textContent = /^\s*(?:query|mutation) (\w+)/m.exec(tab.query)?.[1] ?? "document";
    button.onclick = () => open(tab, button);
    examples.append(button);
  }
  open(tabs[0], examples.children[0]);

  const ask = async () => {
    try {
      const body = JSON.stringify({ query: documentArea.value, variables: JSON.parse(variablesArea.value || "{}") });
      const answer = await send(address, { method: "POST", body, headers: { "content-type": "application/json" } });
      const told = await answer.text();
      try {
        shown.textContent = JSON.stringify(JSON.parse(told), null, 2);
      } catch {
        shown.textContent = `${answer.status}: ${told}`;
      }
    } catch (error) {
      shown.textContent = error instanceof SyntaxError ? `The variables are no JSON: ${error.message}` : `${error}`;
    }
  };
  place.querySelector("footer button").onclick = ask;
  place.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  };
}

const tabs = wanted.q ? [{ query: wanted.q, variables: wanted.variables }] : EXAMPLES;
const shows = typeof GraphiQL !== "undefined" && typeof GraphiQLPluginExplorer !== "undefined" ? graphiql : plain;
shows(document.getElementById("graphiql"), tabs);

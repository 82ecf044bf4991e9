/** Small helpers that pages share. */
import { ElMessage } from "element-plus";
import { onMounted, onUnmounted, type Ref, ref, type ShallowRef, shallowRef } from "vue";
import { useRouter } from "vue-router";
import { asProblem, type Problem } from "@/api/problem";
import { errorText } from "@/i18n";
import { useSession } from "@/stores/session";

const now = ref(Date.now());
let tickers = 0;
let ticker: ReturnType<typeof setInterval> | undefined;

/** The present, once a second, shared by everything that shows “how long ago”. */
export function useNow(): Ref<number> {
  onMounted(() => {
    tickers += 1;
    now.value = Date.now();
    ticker ??= setInterval(() => {
      now.value = Date.now();
    }, 1000);
  });
  onUnmounted(() => {
    tickers -= 1;
    if (tickers === 0) {
      clearInterval(ticker);
      ticker = undefined;
    }
  });
  return now;
}

export interface Loaded<T> {
  data: ShallowRef<T | null>;
  problem: ShallowRef<Problem | null>;
  loading: Ref<boolean>;
  load: () => Promise<void>;
}

/** One thing from the hub with its loading and error state; a later answer of an older call is dropped. */
export function useLoad<T>(ask: () => Promise<T>): Loaded<T> {
  const data = shallowRef<T | null>(null);
  const problem = shallowRef<Problem | null>(null);
  const loading = ref(false);
  let call = 0;
  async function load(): Promise<void> {
    const mine = ++call;
    loading.value = true;
    try {
      const answer = await ask();
      if (mine !== call) return;
      data.value = answer;
      problem.value = null;
    } catch (error) {
      if (mine === call) problem.value = asProblem(error);
    } finally {
      if (mine === call) loading.value = false;
    }
  }
  return { data, problem, loading, load };
}

/** Does something and says why when it fails; true when it worked. */
export function useAct(): { busy: Ref<boolean>; act: (what: () => Promise<unknown>) => Promise<boolean> } {
  const busy = ref(false);
  const session = useSession();
  const router = useRouter();
  async function act(what: () => Promise<unknown>): Promise<boolean> {
    busy.value = true;
    try {
      await what();
      return true;
    } catch (error) {
      const problem = asProblem(error);
      ElMessage({ type: "error", message: errorText(problem), grouping: true, showClose: true, duration: 6000 });
      if (problem.code === "session.missing") {
        session.lost();
        await router.push({ name: "login" });
      }
      return false;
    } finally {
      busy.value = false;
    }
  }
  return { busy, act };
}

/** Keys while the page is shown and nobody is typing. Names are `KeyboardEvent.key`, letters in lower case. */
export function useKeys(keys: Record<string, (event: KeyboardEvent) => void>): void {
  function onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement | null;
    const typing = target?.closest(
      "input, textarea, select, [contenteditable], .el-select, .el-dialog, .el-drawer.modal",
    );
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing && event.key !== "Escape") return;
    // Space presses the focused button, but on a card of results (`data-card`) it plays: Enter opens those.
    if (event.key === " " && target?.closest("button, a") && !target.closest("[data-card]")) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  }
  onMounted(() => window.addEventListener("keydown", onKey));
  onUnmounted(() => window.removeEventListener("keydown", onKey));
}

/** Whether a media query holds, kept up to date. */
export function useMedia(query: string): Ref<boolean> {
  const list = window.matchMedia(query);
  const holds = ref(list.matches);
  const change = (event: MediaQueryListEvent): void => {
    holds.value = event.matches;
  };
  onMounted(() => list.addEventListener("change", change));
  onUnmounted(() => list.removeEventListener("change", change));
  return holds;
}
export const PHONE = "(max-width: 720px)";

/** A choice kept in this browser. Broken or foreign text falls back. */
export function kept<T>(
  key: string,
  fallback: T,
  read: (raw: unknown) => T | null,
): { get: () => T; set: (v: T) => void } {
  return {
    get(): T {
      try {
        return read(JSON.parse(localStorage.getItem(key) ?? "null")) ?? fallback;
      } catch {
        return fallback;
      }
    },
    set(value: T): void {
      localStorage.setItem(key, JSON.stringify(value));
    },
  };
}

import { defineStore } from "pinia";
import { computed, ref } from "vue";
import { api, useCsrfToken } from "@/api";
import { asProblem, type Problem } from "@/api/problem";
import type { Permission, PurposeAsk, SessionView } from "@/api/types";
import { type Locale, setLocale } from "@/i18n";

/** Who is signed in, what they may do, and the purpose they work in. */
export const useSession = defineStore("session", () => {
  const current = ref<SessionView | null>(null);
  const asked = ref(false);
  /** The hub could not be asked at all (not: nobody is signed in). */
  const trouble = ref<Problem | null>(null);
  const purposeDialog = ref(false);
  const purpose = computed(() => current.value?.purpose ?? null);
  /** The purposes the role may set. */
  const purposes = computed(() => current.value?.purposes ?? []);
  let waiting: ((set: boolean) => void)[] = [];

  function take(session: SessionView | null): void {
    current.value = session;
    useCsrfToken(session?.csrf_token ?? "");
    if (session) setLocale(session.user.locale === "en" ? "en" : "zh-CN");
  }

  async function refresh(): Promise<void> {
    try {
      take(await api.session());
      trouble.value = null;
    } catch (error) {
      const problem = asProblem(error);
      take(null);
      trouble.value = problem.status === 401 ? null : problem;
    }
    asked.value = true;
  }
  async function ensure(): Promise<void> {
    if (!asked.value) await refresh();
  }
  async function signIn(username: string, password: string): Promise<void> {
    take(await api.signIn(username, password));
    trouble.value = null;
  }
  async function signOut(): Promise<void> {
    await api.signOut();
    take(null);
  }
  /** The hub said 401: forget the session, so that the router asks to sign in. */
  function lost(): void {
    take(null);
  }

  async function setPurpose(ask: PurposeAsk): Promise<void> {
    await api.setPurpose(ask);
    await refresh();
    closePurpose(true);
  }
  async function clearPurpose(): Promise<void> {
    await api.clearPurpose();
    await refresh();
  }
  /** Whether the purpose opens stored footage: being on duty opens only what a camera shows now. */
  const opensKept = computed(() => purpose.value !== null && purpose.value.kind !== "duty");
  /** Resolves true once there is a purpose; asks for one when there is none; false when the person declines. */
  function needPurpose(): Promise<boolean> {
    if (current.value?.purpose) return Promise.resolve(true);
    purposeDialog.value = true;
    return new Promise((resolve) => waiting.push(resolve));
  }
  function closePurpose(set: boolean): void {
    purposeDialog.value = false;
    for (const resolve of waiting) resolve(set);
    waiting = [];
  }

  async function changeLocale(locale: Locale): Promise<void> {
    setLocale(locale);
    if (!current.value) return;
    await api.patchOwn({ locale });
    current.value = { ...current.value, user: { ...current.value.user, locale } };
  }

  const may = (permission: Permission): boolean => current.value?.permissions.includes(permission) ?? false;
  const seesFootage = computed(() =>
    (["footage.search", "footage.live", "footage.snapshot", "footage.play"] as Permission[]).some(may),
  );
  const home = computed(() => {
    if (may("map.view")) return "/map";
    if (may("ledger.view")) return "/ledger";
    return "/my-cameras";
  });

  return {
    current,
    trouble,
    purpose,
    purposes,
    opensKept,
    purposeDialog,
    seesFootage,
    home,
    ensure,
    refresh,
    signIn,
    signOut,
    lost,
    setPurpose,
    clearPurpose,
    needPurpose,
    closePurpose,
    changeLocale,
    may,
  };
});

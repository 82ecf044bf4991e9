import { defineStore } from "pinia";
import { ref } from "vue";
import { api } from "@/api";
import { asProblem, type Problem } from "@/api/problem";
import type { AlarmView } from "@/api/types";

/** Open alarms, polled by the shell. */
export const useAlarms = defineStore("alarms", () => {
  const items = ref<AlarmView[]>([]);
  const openCount = ref(0);
  const problem = ref<Problem | null>(null);

  async function refresh(): Promise<void> {
    try {
      const page = await api.alarms(true);
      items.value = page.items;
      openCount.value = page.open_count;
      problem.value = null;
    } catch (error) {
      problem.value = asProblem(error);
    }
  }
  async function acknowledge(id: string): Promise<void> {
    await api.acknowledge(id);
    await refresh();
  }
  return { items, openCount, problem, refresh, acknowledge };
});

import { defineStore } from "pinia";
import { computed, ref } from "vue";
import { api } from "@/api";
import { asProblem, type Problem } from "@/api/problem";
import type { CameraView } from "@/api/types";

/** All cameras, adopted and candidates, asked for again every few seconds while a page shows them. */
export const useCameras = defineStore("cameras", () => {
  const all = ref<CameraView[]>([]);
  const loaded = ref(false);
  const problem = ref<Problem | null>(null);
  const basemap = ref<GeoJSON.FeatureCollection | null>(null);
  let users = 0;
  let timer: ReturnType<typeof setInterval> | undefined;

  async function refresh(): Promise<void> {
    try {
      all.value = await api.cameras();
      problem.value = null;
      loaded.value = true;
    } catch (error) {
      problem.value = asProblem(error);
    }
  }
  async function loadBasemap(): Promise<void> {
    if (basemap.value) return;
    try {
      basemap.value = await api.basemap();
    } catch {
      basemap.value = { type: "FeatureCollection", features: [] }; // the map then shows its graticule
    }
  }
  /** Begins polling; the answer ends it. */
  function watch(everyMs = 5000): () => void {
    users += 1;
    void refresh();
    timer ??= setInterval(() => {
      if (document.visibilityState === "visible") void refresh();
    }, everyMs);
    return () => {
      users -= 1;
      if (users === 0) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }
  function put(camera: CameraView): void {
    const at = all.value.findIndex((one) => one.id === camera.id);
    if (at < 0) all.value.push(camera);
    else all.value[at] = camera;
  }

  const adopted = computed(() => all.value.filter((camera) => camera.adopted));
  const candidates = computed(() => all.value.filter((camera) => !camera.adopted));
  const byId = computed(() => new Map(all.value.map((camera) => [camera.id, camera])));
  const nameOf = (id: string): string => byId.value.get(id)?.name ?? id.slice(-6);

  return { all, adopted, candidates, byId, nameOf, loaded, problem, basemap, refresh, loadBasemap, watch, put };
});

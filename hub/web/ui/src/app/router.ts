import { createRouter, createWebHistory } from "vue-router";
import type { Permission } from "@/api/types";
import { useSession } from "@/stores/session";

declare module "vue-router" {
  interface RouteMeta {
    /** Without the shell. */
    bare?: boolean;
    /** Who may come here; the hub refuses all others anyway. */
    needs?: Permission;
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: "/login", name: "login", component: () => import("@/pages/LoginPage.vue"), meta: { bare: true } },
    { path: "/", name: "home", redirect: () => useSession().home },
    { path: "/map", name: "map", component: () => import("@/pages/MapPage.vue"), meta: { needs: "map.view" } },
    {
      path: "/search",
      name: "search",
      component: () => import("@/pages/SearchPage.vue"),
      meta: { needs: "footage.search" },
    },
    { path: "/wall", name: "wall", component: () => import("@/pages/WallPage.vue"), meta: { needs: "footage.live" } },
    {
      path: "/incidents",
      name: "incidents",
      component: () => import("@/pages/IncidentsPage.vue"),
      meta: { needs: "incident.view" },
    },
    {
      path: "/incidents/:id",
      name: "incident",
      component: () => import("@/pages/IncidentPage.vue"),
      props: true,
      meta: { needs: "incident.view" },
    },
    {
      path: "/cameras",
      name: "cameras",
      component: () => import("@/pages/CamerasPage.vue"),
      meta: { needs: "agent.view" },
    },
    {
      path: "/cameras/:id",
      name: "camera",
      component: () => import("@/pages/CameraPage.vue"),
      props: true,
      meta: { needs: "map.view" },
    },
    { path: "/users", name: "users", component: () => import("@/pages/UsersPage.vue"), meta: { needs: "user.edit" } },
    {
      path: "/ledger",
      name: "ledger",
      component: () => import("@/pages/LedgerPage.vue"),
      meta: { needs: "ledger.view" },
    },
    { path: "/my-cameras", name: "residents", component: () => import("@/pages/ResidentPage.vue") },
    { path: "/about", name: "about", component: () => import("@/pages/AboutPage.vue") },
    { path: "/:rest(.*)*", name: "lost", component: () => import("@/pages/LostPage.vue") },
  ],
});

router.beforeEach(async (to) => {
  const session = useSession();
  await session.ensure();
  if (!session.current) return to.name === "login" ? true : { name: "login", query: { next: to.fullPath } };
  if (to.name === "login") return session.home;
  if (to.meta.needs && !session.may(to.meta.needs)) return session.home;
  return true;
});

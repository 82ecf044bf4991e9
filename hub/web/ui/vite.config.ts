import { fileURLToPath } from "node:url";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

// `QIANSHAO_DEV_HUB` names a running hub for `npm run dev`; the built page is served by the hub itself.
const hub = process.env.QIANSHAO_DEV_HUB ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // so that a strict content security policy needs no data: URLs
    chunkSizeWarningLimit: 900,
    rollupOptions: {
      output: {
        manualChunks(id) {
          if (/node_modules\/(@?vue|pinia|@intlify)/.test(id)) return "vue";
          if (id.includes("node_modules/leaflet")) return "map";
          return id.includes("node_modules") ? "element" : undefined;
        },
      },
    },
  },
  server: { host: "127.0.0.1", proxy: { "/api": { target: hub } } },
  preview: { host: "127.0.0.1", proxy: { "/api": { target: hub } } },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});

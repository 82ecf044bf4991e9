import { createPinia } from "pinia";
import { createApp } from "vue";
import App from "./App.vue";
import { installElement } from "./app/element";
import { router } from "./app/router";
import "./app/tokens.css";
import { i18n } from "./i18n";

const app = createApp(App);
app.use(createPinia());
app.use(i18n);
app.use(router);
installElement(app);
app.mount("#app");

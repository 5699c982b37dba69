/**
 * <theme-button>: light or dark, as the system says, until the user chooses. Loaded before the page
 * is painted.
 */

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches;
}

const chosen = localStorage.getItem("theme");
if (chosen) root.dataset.theme = chosen;

class ThemeButton extends HTMLElement {
  connectedCallback() {
    this.innerHTML = `
      <button type="button" class="icon" aria-label="Dark colours">
        <svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8.5"/><path class="solid" d="M12 3.5a8.5 8.5 0 0 1 0 17z"/></svg>
      </button>`;
    const button = this.firstElementChild;
    const show = () => button.setAttribute("aria-pressed", isDark());
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
      show();
    });
    systemIsDark.addEventListener("change", show);
    show();
  }
}

customElements.define("theme-button", ThemeButton);

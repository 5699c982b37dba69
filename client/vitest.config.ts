import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    testTimeout: 10_000 * Number(process.env.SNORKY_TEST_PATIENCE ?? 1),
    coverage: {
      enabled: true,
      provider: "v8",
      include: ["src/**/*.ts"],
      // Loaded as scripts, built, by the tests of the builds and of the add-on.
      exclude: ["src/angular.ts", "src/bundle.ts", "src/globals.ts", "src/script.ts"],
      reporter: ["text-summary"],
      thresholds: { statements: 95, branches: 90, functions: 95, lines: 95 },
    },
  },
});

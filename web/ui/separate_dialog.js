// The dialog that separates a song again with another model, other stems or other formats.

import { openDialog } from "./dialog.js";
import { announce, h } from "./dom.js";
import { checkboxes, field, form } from "./form.js";
import { AppError, get, mutate } from "./net.js";
import { formatQuality, sortStems, stemName } from "./stems.js";

const CHOICES = [["all", "All stems"], ["some", "Selected stems"], ["two", "Two stems"]];
const FORMATS = {
  mp3: ["mp3:320", "mp3:192", "mp3:128"],
  flac: ["flac:16", "flac:24"],
  wav: ["wav:int16", "wav:int24", "wav:float32"],
};
const NONE = "";

/** Opens the dialog with the settings of the primary separation. */
export async function openSeparateDialog(song) {
  try {
    const [{ models }, { separations }] = await Promise.all([get("/models"), get(`/songs/${song.id}/separations`)]);
    show(song, models, separations[0].job);
  } catch (problem) {
    openDialog(`Separate “${song.title}” again`, h("p", { class: "bad", role: "alert" }, problem.message));
  }
}

function show(song, models, current) {
  const sources = () => sortStems(models.find((one) => one.name === model.input.value)?.sources ?? []);
  const words = (stems) => stems.map((stem) => [stem, stemName(stem)]);
  const model = field({
    name: "model", label: "Model", options: models.map((one) => [one.name, `${one.name} (${one.sources.length} stems)`]),
    value: models.some((one) => one.name === current.model) ? current.model : models.find((one) => one.default)?.name,
    onchange: () => showStems(),
  });
  const choice = field({ name: "choice", label: "Stems", options: CHOICES, value: "all", onchange: () => showChoice() });
  const some = checkboxes({ name: "stems", label: "Stems to keep", options: [], chosen: [] });
  const two = field({ name: "two_stems", label: "First stem", hint: "The second stem is the sum of all others.", options: [] });
  const formats = Object.entries(FORMATS).map(([name, offered]) => {
    const used = current.formats.find((format) => format.startsWith(name));
    // The current format, with its encoder setting, replaces the offered format of the same quality.
    const others = offered.filter((one) => !used || formatQuality(one) !== formatQuality(used));
    const all = used && !offered.includes(used) ? [used, ...others] : offered;
    const options = [[NONE, "None"], ...all.map((format) => [format, formatQuality(format)])];
    return field({ name, label: name.toUpperCase(), options, value: used ?? NONE });
  });
  const showStems = () => {
    const stems = sources();
    some.offer(words(stems), stems.filter((stem) => stem !== "vocals"));
    two.input.replaceChildren(...words(stems).map(([value, text]) => h("option", { value }, text)));
    showChoice();
  };
  const showChoice = () => {
    some.element.hidden = choice.input.value !== "some";
    two.element.hidden = choice.input.value !== "two";
  };
  showStems();
  const close = openDialog(`Separate “${song.title}” again`,
    h("p", { class: "quiet" }, "The existing stems are kept."),
    form({
      kind: "separate", fields: [model, choice, some, two, ...formats], submit: "Separate",
      async action({ choice: chosen, stems, two_stems: stem, model: name, ...files }) {
        const body = { model: name, formats: Object.values(files).filter((format) => format !== NONE) };
        if (body.formats.length === 0) throw new AppError("Choose at least one format.");
        if (chosen === "some") body.stems = stems;
        if (chosen === "two") body.two_stems = stem;
        const { job } = await mutate("POST", `/songs/${song.id}/separate`, body);
        close();
        announce(`Job ${job.id} separates ${song.title} again.`);
        location.hash = `#jobs/${job.id}`;
      },
    }));
}

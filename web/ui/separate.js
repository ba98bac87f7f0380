// Separating a song once more: with another model, into other stems or other files.

import { sheet } from "./dialog.js";
import { announce, el } from "./dom.js";
import { boxes, field, form } from "./form.js";
import { Problem, ask, tell } from "./net.js";
import { inOrder, partName, quality } from "./parts.js";

const CHOICES = [["all", "All stems"], ["some", "Only some stems"], ["two", "One stem, and the rest together"]];
const FORMATS = {
  mp3: ["mp3:320", "mp3:192", "mp3:128"],
  flac: ["flac:16", "flac:24"],
  wav: ["wav:int16", "wav:int24", "wav:float32"],
};
const NONE = "";

/** Opens the dialog. What it begins with is how the song was separated last. */
export async function separate(song) {
  try {
    const [{ models }, { separations }] = await Promise.all([ask("/models"), ask(`/songs/${song.id}/separations`)]);
    show(song, models, separations[0].job);
  } catch (problem) {
    sheet(`Separate “${song.title}” again`, el("p", { class: "bad", role: "alert" }, problem.message));
  }
}

function show(song, models, own) {
  const sources = () => inOrder(models.find((one) => one.name === model.input.value)?.sources ?? []);
  const words = (stems) => stems.map((stem) => [stem, partName(stem)]);
  const model = field({
    name: "model", label: "Model", options: models.map((one) => [one.name, `${one.name} (${one.sources.length} stems)`]),
    value: models.some((one) => one.name === own.model) ? own.model : models.find((one) => one.default)?.name,
    onchange: () => offer(),
  });
  const choice = field({ name: "choice", label: "Stems", options: CHOICES, value: "all", onchange: () => arrange() });
  const some = boxes({ name: "stems", label: "Which", options: [], chosen: [] });
  const two = field({ name: "two_stems", label: "Which", options: [] });
  const formats = Object.entries(FORMATS).map(([name, offered]) => {
    const was = own.formats.find((format) => format.startsWith(name));
    // What there is, with how thoroughly it was made, stands for what is called the same.
    const all = was && !offered.includes(was) ? [was, ...offered.filter((one) => quality(one) !== quality(was))] : offered;
    const options = [[NONE, "none"], ...all.map((format) => [format, quality(format)])];
    return field({ name, label: name.toUpperCase(), options, value: was ?? NONE });
  });
  const offer = () => {
    const stems = sources();
    some.offer(words(stems), stems.filter((stem) => stem !== "vocals"));
    two.input.replaceChildren(...words(stems).map(([value, text]) => el("option", { value }, text)));
    arrange();
  };
  const arrange = () => {
    some.element.hidden = choice.input.value !== "some";
    two.element.hidden = choice.input.value !== "two";
  };
  offer();
  const close = sheet(`Separate “${song.title}” again`,
    el("p", { class: "quiet" }, "The stems that there are stay. These are kept beside them."),
    form({
      kind: "wish", fields: [model, choice, some, two, ...formats], submit: "Separate",
      async action({ choice: chosen, stems, two_stems: stem, model: name, ...files }) {
        const wish = { model: name, formats: Object.values(files).filter((format) => format !== NONE) };
        if (wish.formats.length === 0) throw new Problem("Choose one format at least.");
        if (chosen === "some") wish.stems = stems;
        if (chosen === "two") wish.two_stems = stem;
        const { job } = await tell("POST", `/songs/${song.id}/separate`, wish);
        close();
        announce(`${song.title}: this is the job that separates it again.`);
        location.hash = `#jobs/${job.id}`;
      },
    }));
}

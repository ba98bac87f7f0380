// Putting a list into another order: its grips are dragged with mouse, pen or finger, or moved with the arrow keys.

/**
 * Lets the children of `list` be moved by the grip in each. `moved` is called with the item and its new place when it
 * has come to rest, and `step` before that for each step of the keys.
 */
export function reorderable(list, { grip, moved, step }) {
  let carried = null;
  let from = null;

  list.addEventListener("pointerdown", (event) => {
    const held = event.target.closest(grip);
    if (!held || event.button !== 0) return;
    carried = held.closest("li");
    from = [...list.children].indexOf(carried);
    carried.classList.add("carried");
    list.setPointerCapture(event.pointerId);
    event.preventDefault();
    held.focus();
  });
  list.addEventListener("pointermove", (event) => {
    if (!carried) return;
    const others = [...list.children].filter((item) => item !== carried);
    const before = others.find((item) => {
      const box = item.getBoundingClientRect();
      return event.clientY < box.top + box.height / 2;
    });
    if (carried.nextElementSibling !== (before ?? null)) list.insertBefore(carried, before ?? null);
  });
  const rest = () => {
    if (!carried) return;
    const item = carried;
    carried = null;
    item.classList.remove("carried");
    const to = [...list.children].indexOf(item);
    if (to !== from) moved(item, to);
  };
  list.addEventListener("pointerup", rest);
  list.addEventListener("pointercancel", rest);

  list.addEventListener("keydown", (event) => {
    const held = event.target.closest(grip);
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!held || !by) return;
    event.preventDefault();
    const item = held.closest("li");
    const place = [...list.children].indexOf(item);
    const to = place + by;
    if (to < 0 || to >= list.children.length) return;
    list.insertBefore(item, by > 0 ? list.children[to].nextElementSibling : list.children[to]);
    held.focus();
    step(item, to);
    moved(item, to);
  });
}

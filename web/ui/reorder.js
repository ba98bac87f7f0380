// Reordering a list by dragging handles with mouse, pen or touch, or with the arrow keys.

/**
 * Makes the children of `list` movable by the handles that match `grip`. `moved` is called with the item and its new index
 * after a move, and before that `step` for each press of an arrow key.
 */
export function reorderable(list, { grip, moved, step }) {
  let dragged = null;
  let from = null;

  list.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(grip);
    if (!handle || event.button !== 0) return;
    dragged = handle.closest("li");
    from = [...list.children].indexOf(dragged);
    dragged.classList.add("dragged");
    list.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  });
  list.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    const others = [...list.children].filter((item) => item !== dragged);
    const before = others.find((item) => {
      const box = item.getBoundingClientRect();
      return event.clientY < box.top + box.height / 2;
    });
    if (dragged.nextElementSibling !== (before ?? null)) list.insertBefore(dragged, before ?? null);
  });
  const drop = () => {
    if (!dragged) return;
    const item = dragged;
    dragged = null;
    item.classList.remove("dragged");
    const to = [...list.children].indexOf(item);
    if (to !== from) moved(item, to);
  };
  list.addEventListener("pointerup", drop);
  list.addEventListener("pointercancel", drop);

  list.addEventListener("keydown", (event) => {
    const handle = event.target.closest(grip);
    const offset = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!handle || !offset) return;
    event.preventDefault();
    const item = handle.closest("li");
    const place = [...list.children].indexOf(item);
    const to = place + offset;
    if (to < 0 || to >= list.children.length) return;
    list.insertBefore(item, offset > 0 ? list.children[to].nextElementSibling : list.children[to]);
    handle.focus();
    step(item, to);
    moved(item, to);
  });
}

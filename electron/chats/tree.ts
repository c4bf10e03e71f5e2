import type { Message } from '../contract/entities';

/** The shape of a chat's tree without its texts; in order of creation. */
export interface Node {
  id: string;
  parent_id: string | null;
  role: Message['role'];
}

/** Ids from the root to the leaf, first message first. */
export function branchTo(nodes: readonly Node[], leafId: string | null): string[] {
  const parents = new Map(nodes.map((node) => [node.id, node.parent_id]));
  const branch: string[] = [];
  let id = leafId;
  while (id !== null && parents.has(id)) {
    branch.push(id);
    id = parents.get(id) ?? null;
  }
  return branch.reverse();
}

/** The newest message below this one: what is shown when a person switches to its branch. */
export function newestLeaf(nodes: readonly Node[], messageId: string): string {
  const newestChild = new Map<string, string>();
  for (const node of nodes) if (node.parent_id !== null) newestChild.set(node.parent_id, node.id);
  let id = messageId;
  for (let child = newestChild.get(id); child !== undefined; child = newestChild.get(id)) id = child;
  return id;
}

/** For each message: the ids with the same parent and role, oldest first, itself included. */
export function siblingsOf(nodes: readonly Node[]): (node: Node) => string[] {
  const groups = new Map<string, string[]>();
  const key = (node: Node): string => `${node.parent_id ?? ''}/${node.role}`;
  for (const node of nodes) {
    const group = groups.get(key(node));
    if (group) group.push(node.id);
    else groups.set(key(node), [node.id]);
  }
  return (node) => groups.get(key(node)) ?? [node.id];
}
